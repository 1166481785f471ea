-- All books as they are kept, for the check. What has lapsed is ended and who can run runs before, as with every call.
--
-- KEYS, ARGV[1] to [12]: shared/given.lua
-- answer: {entries (upload, entry, …), leases (upload, fence, …), deadlines (upload, moment, …), unclaimed, waiting, ready,
--          heads, fronts, granted, places, nodes, promised, grants, caps (name, value, …), the last fence}

begin()
grant()
write_back()
return finish({
  redis.call('HGETALL', ENTRIES),
  redis.call('ZRANGE', LEASES, 0, -1, 'WITHSCORES'),
  redis.call('ZRANGE', DEADLINES, 0, -1, 'WITHSCORES'),
  redis.call('ZRANGE', UNCLAIMED, 0, -1),
  redis.call('ZRANGE', WAITING, 0, -1),
  redis.call('ZRANGE', READY, 0, -1),
  redis.call('ZRANGE', HEADS, 0, -1),
  redis.call('ZRANGE', FRONTS, 0, -1),
  redis.call('HGETALL', GRANTED),
  redis.call('HGETALL', PLACES),
  redis.call('HGETALL', NODES),
  redis.call('HGETALL', PROMISED),
  redis.call('HGETALL', GRANTS),
  redis.call('HGETALL', CAPS),
  redis.call('GET', FENCES) or '0',
})
