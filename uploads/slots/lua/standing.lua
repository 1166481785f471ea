-- Where uploads of one worker stand; by it their owners claim grants that were made to waiters.
--
-- KEYS, ARGV[1] to [12]: shared/given.lua
-- ARGV[13] upload  [14] owner, then as its owner knows them [15] person  [16] window  [17] ticket  [18] fence, 0 for a place
--   or for unknown  [19] 1 for paused; then the same seven of the next, and so on
-- answer: a standing (shared/granting.lua) for each in order, false for one that has nothing under this token

begin()
local entries = {}
for first = OWN, #ARGV, CLAIMED do
  local entry = owned(claimed_in(first)) or false
  if entry and entry.absent then
    leave_line(entry)
    entry.absent = false
    join_line(entry)
    touch(entry)
  end
  entries[#entries + 1] = entry
end
grant()
local answer = {}
for index, entry in ipairs(entries) do
  answer[index] = entry and standing_of(entry)
end
return finish(answer, count(TURNS))
