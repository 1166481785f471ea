-- The whole state at one moment, for those who only look.
--
-- KEYS, ARGV[1] to [12]: shared/given.lua
-- answer: {entries, leases in order, the line in order (shared/line.lua), deadlines (upload, moment, …),
--          granted (person, slots, …), released (person, moments, …)}

begin()
grant()
write_back()
return finish({
  redis.call('HVALS', ENTRIES),
  redis.call('ZRANGE', LEASES, 0, -1),
  redis.call('ZRANGE', WAITING, 0, -1),
  redis.call('ZRANGE', DEADLINES, 0, -1, 'WITHSCORES'),
  redis.call('HGETALL', GRANTED),
  redis.call('HGETALL', RELEASED),
})
