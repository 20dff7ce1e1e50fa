-- The bookkeeping fields that every act on a session reads first; nil when there is no session.
-- One that lacks what the act would need later is an error here, before the act has written anything.
local function read_record()
  local v = redis.call('HMGET', K.record, 'phase', 'status', 'app', 'rank', 'since', 'seq', 'rev', 'fence', 'attempts',
    'holder', 'posts', 'spec', 'wait_id', 'answered', 'format')
  if not v[1] then return nil end
  local complete = v[2] and v[3] and v[4] and v[12]
  for i = 5, 9 do complete = complete and tonumber(v[i]) end
  if not complete then error('the record is not complete') end
  return {phase = v[1], status = v[2], app = v[3], rank = v[4], since = v[5], seq = v[6], rev = v[7], fence = v[8],
    attempts = v[9], holder = v[10], posts = tonumber(v[11] or '0'), spec = v[12], wait_id = v[13] or '', answered = v[14],
    format = tonumber(v[15]) or 1}
end

local function forget(sid)
  redis.call('ZREM', K.due, sid)
  redis.call('ZREM', K.sent, sid)
  redis.call('ZREM', K.leases, sid)
end
