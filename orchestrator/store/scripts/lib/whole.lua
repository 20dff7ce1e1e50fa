-- A whole number of at least zero as commands take one, or nil: arguments are checked before the first write. What Lua reads
-- beyond that (1e3, 0x10, 007, a blank before or behind) a command refuses, and by then something would be written. Fourteen
-- digits are what Lua writes without an exponent.
local function whole(text)
  if text == '0' then return 0 end -- most counts of most commits: comparing is cheaper than reading a number
  if text and #text < 15 and string.find(text, '^[1-9]%d*$') then return tonumber(text) end
  return nil
end
