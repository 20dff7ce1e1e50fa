--! keys: by
--! uses: whole
-- page: the newest sessions of a partition before a place, over all groups of the index that fit. The groups (app:bucket:rank)
-- are met from the last to the first, each by one search; each is ordered by time and entered at the place. Of each no more
-- members are read than are told, so that no page costs more than another.
--
-- ARGV: app or '', bucket or '' ('ended': with any status; 'asks': of any kind; else what asks is not told twice), since of the place or '', its sid, least since or '', most
local app, bucket, since, sid, least, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], whole(ARGV[6])
if not most or not (since == '' or whole(since)) or not (least == '' or whole(least)) then return {'malformed'} end
local call, match, sub = redis.call, string.match, string.sub
local least_at, is_kind = whole(least) or 0, bucket == 'ended' or bucket == 'asks'

-- Where the wanted buckets of an app begin and end; its name may be all that is known of them.
local function range_of(its_app)
  if bucket == '' then return '[' .. its_app .. ':asks0', '(' .. its_app .. ';' end -- no bucket is before asks/KIND
  local from = its_app .. ':' .. bucket
  if is_kind then return '[' .. from .. '/', '(' .. from .. '0' end
  return '[' .. from .. ':', '(' .. from .. ';'
end

-- Whether a member's id is before another's, byte by byte as the index has it: Lua's own < follows the server's locale.
local function is_before(one, other)
  one, other = match(one, '[^:]*$'), match(other, '[^:]*$')
  for at = 1, math.min(#one, #other) do
    local a, b = string.byte(one, at), string.byte(other, at)
    if a ~= b then return a < b end
  end
  return #one < #other
end

-- What is told, newest first, and since when each stands there.
local told, times, count = {}, {}, 0
local function take(members, name)
  for _, member in ipairs(members) do
    if sub(member, 1, #name) ~= name then return end
    local time, at = tonumber(match(member, '^%d+', #name + 1)), count
    while at > 0 and (times[at] < time or (times[at] == time and is_before(told[at], member))) do at = at - 1 end
    if at == most or time < least_at then return end -- what follows is older
    if count < most then count = count + 1 end
    for later = count, at + 2, -1 do told[later], times[later] = told[later - 1], times[later - 1] end
    told[at + 1], times[at + 1] = member, time
  end
end

local low, high, looked_for = '-', '+', nil
if app ~= '' then
  low, high = range_of(app)
elseif bucket == '' then
  local first = call('ZRANGE', K.by, 0, 0)[1]
  if first then low = range_of(match(first, '^[^:]*')) end
end
local heads = since == '' and most or 1
while most > 0 do
  local members
  if high == '+' then
    members = call('ZREVRANGE', K.by, 0, heads - 1) -- the same, but nothing has to be searched for
  else
    members = call('ZREVRANGEBYLEX', K.by, high, low, 'LIMIT', 0, heads)
  end
  local head = members[1]
  if not head then break end
  local name, its_app, its_bucket = match(head, '^(([^:]*):([^:]*):[^:]*:)')
  local kind = match(its_bucket, '^(%l+)/')
  high = '(' .. name
  if its_bucket == bucket or (kind and kind == bucket) or (bucket == '' and kind ~= 'asks') then
    if since ~= '' then
      members = call('ZREVRANGEBYLEX', K.by, high .. since .. ':' .. sid, '[' .. name, 'LIMIT', 0, most)
    end
    take(members, name)
    looked_for = its_app
    if app ~= '' and bucket ~= '' and not is_kind and sub(name, -3) == ':-:' then break end -- without ranks it is one group
  elseif bucket ~= '' then -- over the app's other buckets: first to those that are wanted, then to the app before
    local _, upper = range_of(its_app)
    high = looked_for == its_app and '(' .. its_app .. ':' or upper
    looked_for = its_app
  end
end
return {'page', told}
