-- What uploads have, for those who only look: nothing is claimed by it.
--
-- KEYS, ARGV[1] to [12]: shared/given.lua
-- ARGV[13] and on: uploads
-- answer: for each that has anything {entry, when it lapses, position, slots of the person, position among own,
--         own releases, all releases}

begin()
grant()
write_back()
local found = {}
for index = OWN, #ARGV do
  local entry = entry_of(ARGV[index])
  if entry then
    local lapses, waits = tonumber(redis.call('ZSCORE', DEADLINES, entry.upload)), entry.fence == 0
    local held = number_in(GRANTED, entry.person)
    found[#found + 1] = {
      cmsgpack.pack(entry), lapses or 0, waits and position(entry) or 0, held,
      waits and held >= MOST_OF_A_PERSON and position_among_own(entry) or 0,
      redis.call('HGET', RELEASED, entry.person), redis.call('HGET', RELEASED, ''),
    }
  end
end
return finish(found)
