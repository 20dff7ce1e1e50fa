--! keys: by
-- tally: how many sessions stand in each group of a partition's index, and since when the oldest does.
--
-- Answer: app, bucket, rank, count, oldest, for one group after the other
local low, told = '-', {}
for _ = 1, 1000 do
  local first = redis.call('ZRANGEBYLEX', K.by, low, '+', 'LIMIT', 0, 1)[1]
  if not first then break end
  local app, bucket, rank, since = string.match(first, '^([^:]*):([^:]*):([^:]*):([^:]*):')
  local group = app .. ':' .. bucket .. ':' .. rank
  for _, part in ipairs({app, bucket, rank, redis.call('ZLEXCOUNT', K.by, '[' .. group .. ':', '(' .. group .. ';'), since}) do
    told[#told + 1] = part
  end
  low = '[' .. group .. ';'
end
return {'tally', told}
