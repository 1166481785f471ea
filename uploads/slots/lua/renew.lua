-- Renews the leases and places of one worker.
--
-- KEYS, ARGV[1] to [12]: shared/given.lua
-- ARGV[13] and on: as for standing.lua
-- answer: the uploads that have nothing under their token any longer

begin()
local gone = {}
for first = OWN, #ARGV, CLAIMED do
  local claimed = claimed_in(first)
  local entry = owned(claimed)
  if not entry then
    gone[#gone + 1] = claimed.upload
  elseif entry.connected then
    keep_until(entry, now + LEASE)
  end
end
grant()
return finish(gone)
