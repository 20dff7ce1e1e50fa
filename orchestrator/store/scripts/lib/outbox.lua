-- What webhooks are told of is written where it happens. The stream is there only where somebody wants to be told;
-- its length is bounded, for one whose deliverers are away for good.
local function tell_outbox(sid, app, phase, seq, now)
  if redis.call('EXISTS', K.outbox) == 0 then return end
  redis.call('XADD', K.outbox, 'MAXLEN', '~', 10000, '*', 'sid', sid, 'app', app, 'phase', phase, 'seq', seq, 'at', now)
end
