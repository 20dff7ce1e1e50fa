--! keys: by
--! uses: whole
-- page: the newest sessions of a partition before a place, over all groups of the index that fit. Each group
-- (app:bucket:rank) is ordered by time and entered at the place, so that no page costs more than another.
--
-- ARGV: app or '', bucket or '' ('ended': with any status; 'asks': of any kind; else what asks is not told twice), since of the place or '', its sid, least since or '', most
local app, bucket, since, sid, least, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], whole(ARGV[6])
if not most or not (since == '' or whole(since)) or not (least == '' or whole(least)) then return {'malformed'} end
local low, high = '-', '+'
if app ~= '' then low, high = '[' .. app .. ':', '(' .. app .. ';' end
local found = {}
for _ = 1, 1000 do
  local first = redis.call('ZRANGEBYLEX', K.by, low, high, 'LIMIT', 0, 1)[1]
  if not first then break end
  local its_bucket = string.match(first, '^[^:]*:([^:]*):')
  local group = string.match(first, '^[^:]*:[^:]*:[^:]*')
  local kind = string.match(its_bucket, '^(%l+)/')
  if its_bucket == bucket or (kind and kind == bucket) or (bucket == '' and kind ~= 'asks') then
    local upper = since == '' and '(' .. group .. ';' or '(' .. group .. ':' .. since .. ':' .. sid
    local page = redis.call('ZREVRANGEBYLEX', K.by, upper, '[' .. group .. ':' .. least, 'LIMIT', 0, most)
    for _, member in ipairs(page) do
      local at, id = string.match(member, '^[^:]*:[^:]*:[^:]*:(%d+):(.*)$')
      found[#found + 1] = {tonumber(at), id, member}
    end
  end
  low = '[' .. group .. ';'
end
table.sort(found, function(a, b) if a[1] ~= b[1] then return a[1] > b[1] end return a[2] > b[2] end)
local newest = {}
for place = 1, math.min(#found, most) do newest[place] = found[place][3] end
return {'page', newest}
