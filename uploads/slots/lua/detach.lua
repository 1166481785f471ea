-- The connection was lost: keeps the slot or the place for its return, and lets it lapse after that.
--
-- KEYS, ARGV[1] to [12]: shared/given.lua
-- ARGV[13] to [19]: as for standing.lua, of one upload  [20] milliseconds to keep it
-- answer: 1, or 0 where this owner has nothing and nothing was changed

begin()
local entry = owned(claimed_in(OWN))
if entry and entry.connected then
  entry.connected = false
  keep_until(entry, now + tonumber(ARGV[OWN + CLAIMED]))
  touch(entry)
end
grant()
return finish(entry and 1 or 0)
