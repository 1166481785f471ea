-- One worker's slow poll: drops what has lapsed, applies limits and memory as they are now, grants what can run.
--
-- KEYS, ARGV[1] to [12]: shared/given.lua
-- answer: the uploads whose grant nobody has claimed yet, for workers whom the message of it did not reach

begin()
forget_silent_nodes()
grant()
return finish(redis.call('ZRANGE', UNCLAIMED, 0, -1))
