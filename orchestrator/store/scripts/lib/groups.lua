-- Every group of an index (app:bucket:rank), in the order of its text: its app, bucket and rank, how many sessions it has, and
-- since when its oldest stands there. One look a group, however many sessions there are.
local function groups_of(by)
  local low, found = '-', {}
  while true do
    local first = redis.call('ZRANGEBYLEX', by, low, '+', 'LIMIT', 0, 1)[1]
    if not first then return found end
    local name, app, bucket, rank, since = string.match(first, '^(([^:]*):([^:]*):([^:]*)):(%d+):')
    local count = redis.call('ZLEXCOUNT', by, '[' .. name .. ':', '(' .. name .. ';')
    found[#found + 1] = {app = app, bucket = bucket, rank = rank, count = count, since = since}
    low = '[' .. name .. ';'
  end
end
