-- A paused upload waits for a slot again, with the ticket that it had.
--
-- KEYS, ARGV[1] to [12]: shared/given.lua
-- ARGV[13] upload
-- answer: 1, or 0 where it is not paused

begin()
local entry = entry_of(ARGV[OWN])
local was_paused = entry and entry.paused
if was_paused then
  leave_line(entry)
  entry.paused = false
  join_line(entry)
  touch(entry)
  changed(entry)
end
grant()
return finish(was_paused and 1 or 0)
