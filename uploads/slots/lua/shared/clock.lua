-- The time: that of the Redis machine and no other, in whole milliseconds.

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
