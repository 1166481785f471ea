-- Gives back the slot or the place of an upload at once.
--
-- KEYS, ARGV[1] to [12]: shared/given.lua
-- ARGV[13] to [19]: as for standing.lua, of one upload
-- answer: 1, or 0 where this owner has none and nothing was changed

begin()
local entry = owned(claimed_in(OWN))
if entry then
  drop(entry)
end
grant()
return finish(entry and 1 or 0)
