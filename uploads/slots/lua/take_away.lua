-- An admin releases a slot or a place, whoever owns it.
--
-- KEYS, ARGV[1] to [12]: shared/given.lua
-- ARGV[13] upload
-- answer: 1, or 0 where it has neither

begin()
local entry = entry_of(ARGV[OWN])
if entry then
  drop(entry)
end
grant()
return finish(entry and 1 or 0)
