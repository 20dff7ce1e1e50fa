-- The server's clock is the only "now": workers' clocks may be wrong, and it does not matter.
-- Numbers go to commands and into texts as they are: whole milliseconds have 13 digits until the
-- year 2286, and Lua writes 14 without an exponent.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
