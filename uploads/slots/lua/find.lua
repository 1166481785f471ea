-- What one upload has, for those who only look: nothing is claimed by it.
--
-- KEYS, ARGV[1] to [12]: shared/given.lua
-- ARGV[13] upload
-- answer: false, or {entry, when it lapses, position, slots of the person, position among own, own releases, all releases}

begin()
grant()
write_back()
local entry = entry_of(ARGV[OWN])
if not entry then
  return finish(false)
end
local lapses, waits = tonumber(redis.call('ZSCORE', DEADLINES, entry.upload)), entry.fence == 0
return finish({
  cmsgpack.pack(entry), lapses, waits and position(entry) or 0, number_in(GRANTED, entry.person),
  waits and position_among_own(entry) or 0, redis.call('HGET', RELEASED, entry.person), redis.call('HGET', RELEASED, ''),
})
