-- Memory of each node, as its workers report it with every call; the decision is that of admission.py.
--
-- A node: free (bytes left for windows), ceiling (bytes that all windows may come to), at (when that was reported), held
-- (worker -> {bytes of windows that its uploads have in memory, when that was reported}).

local REPORTED_EVERY = 1000
local SILENT_AFTER = 5000  -- nobody is granted a slot on a node whose memory nobody knows

local function report_memory()
  if NODE == '' then
    return
  end
  local node = packed(NODES, NODE) or {held = {}, at = 0}
  if node.at > now then  -- the clock was set back since
    node = {held = {}, at = 0}
  end
  local own = node.held[WORKER]
  local same = own and own[1] == WORKER_HOLDS and now - own[2] < REPORTED_EVERY
  if same and node.free == NODE_FREE and node.ceiling == NODE_CEILING and now - node.at < REPORTED_EVERY then
    return
  end
  if node.ceiling ~= NODE_CEILING then
    remember_cap('bytes|' .. NODE, NODE_CEILING)
  end
  node.free, node.ceiling, node.at = NODE_FREE, NODE_CEILING, now
  node.held[WORKER] = {WORKER_HOLDS, now}
  for worker, held in pairs(node.held) do
    if now - held[2] > LEASE then
      node.held[worker] = nil
    end
  end
  redis.call('HSET', NODES, NODE, cmsgpack.pack(node))
end

-- May an upload of `window` bytes run on this node now?
local function admits(name, window)
  local node = packed(NODES, name)
  if not node or now - node.at > SILENT_AFTER then
    return false
  end
  local promised, held = number_in(PROMISED, name), 0
  for _, of_worker in pairs(node.held) do
    held = held + of_worker[1]
  end
  local still_to_come = math.max(0, promised - held)
  -- A window set above the ceiling lets one upload run at a time.
  return node.free - still_to_come >= window and promised + window <= math.max(node.ceiling, window)
end

-- A node that nobody has spoken of for long, and on which nothing is left, is gone.
local function forget_silent_nodes()
  for _, name in ipairs(redis.call('HKEYS', NODES)) do
    if now - packed(NODES, name).at > 3 * LEASE and redis.call('HEXISTS', PROMISED, name) == 0 then
      redis.call('HDEL', NODES, name)
      redis.call('HDEL', CAPS, 'bytes|' .. name)
    end
  end
end
