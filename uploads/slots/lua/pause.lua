-- An admin stops an upload: its slot goes back, and it waits.
--
-- KEYS, ARGV[1] to [12]: shared/given.lua
-- ARGV[13] upload
-- answer: 1, or 0 where it has neither slot nor place

begin()
local entry = entry_of(ARGV[OWN])
if entry and entry.fence > 0 then
  back_to_line(entry, true, false)
elseif entry then
  leave_line(entry)
  entry.paused = true
  join_line(entry)
  touch(entry)
  changed(entry)
end
grant()
return finish(entry and 1 or 0)
