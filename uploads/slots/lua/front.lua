-- An admin puts a waiting upload before all others.
--
-- KEYS, ARGV[1] to [12]: shared/given.lua
-- ARGV[13] upload
-- answer: 1, or 0 where it does not wait

begin()
local entry = entry_of(ARGV[OWN])
local waits = entry and entry.fence == 0
if waits then
  leave_line(entry)
  entry.front = redis.call('HINCRBY', STATE, 'front', -1)
  join_line(entry)
  touch(entry)
  changed(entry)
end
grant()
return finish(waits and 1 or 0)
