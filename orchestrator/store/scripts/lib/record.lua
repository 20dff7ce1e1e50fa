-- The bookkeeping fields that every act on a session reads first; nil when there is no session.
-- One that lacks what the act would need later is an error here, before the act has written anything.
local function read_record()
  local v = redis.call('HMGET', K.record, 'phase', 'status', 'app', 'rank', 'since', 'seq', 'rev', 'fence', 'attempts',
    'holder', 'last', 'posts', 'cancel', 'spec', 'wait_id', 'answered', 'format')
  if not v[1] then return nil end
  local complete = v[3] and v[4] and v[14]
  for i = 5, 9 do complete = complete and tonumber(v[i]) end
  if not complete then error('the record is not complete') end
  return {phase = v[1], status = v[2] or '', app = v[3], rank = v[4], since = v[5], seq = v[6], rev = v[7], fence = v[8],
    attempts = v[9], holder = v[10] or '', last = v[11] or '', posts = tonumber(v[12] or '0'), cancel = v[13] or '',
    spec = v[14], wait_id = v[15] or '', answered = v[16] or '', format = tonumber(v[17] or '1')}
end

local function forget(sid)
  redis.call('ZREM', K.due, sid)
  redis.call('ZREM', K.sent, sid)
  redis.call('ZREM', K.leases, sid)
end
