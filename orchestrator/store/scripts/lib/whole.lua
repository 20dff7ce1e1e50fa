-- A whole number of at least zero, or nil: arguments are checked before the first write.
local function whole(text)
  if text == '0' then return 0 end -- most counts of most commits: comparing is cheaper than reading a number
  local n = tonumber(text)
  if n and n >= 0 and n < 1e15 and n % 1 == 0 then return n end
  return nil
end
