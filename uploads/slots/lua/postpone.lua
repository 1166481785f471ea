-- The storage takes an upload not before a time: its slot goes back, and it waits, passed over, with its ticket.
--
-- KEYS, ARGV[1] to [12]: shared/given.lua
-- ARGV[13] to [19]: as for standing.lua, of one upload  [20] milliseconds until then, 0: it may be tried again
-- answer: 1, or 0 where this owner has nothing and nothing was changed

begin()
local entry = owned(claimed_in(OWN))
if entry then
  local wait = tonumber(ARGV[OWN + CLAIMED])
  if entry.fence > 0 then
    back_to_line(entry, false, false)
  end
  leave_line(entry)
  entry.absent, entry.stored_from = false, wait > 0 and now + wait or 0
  join_line(entry)
  touch(entry)
  changed(entry)
end
grant()
return finish(entry and 1 or 0)
