--! keys: deliveries deliveryinfo
--! uses: clock whole
-- take_deliveries: webhooks whose time has come, each for one deliverer: its time is pushed out, so that another takes it
-- only if this one dies with it.
--
-- ARGV: most, ms until it is due again. Answer: id, body, id, body, …
local most, lease = whole(ARGV[1]), whole(ARGV[2])
if not most or not lease then return {'malformed'} end
local now, taken = now_ms(), {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.deliveries, '-inf', now, 'LIMIT', 0, most)) do
  local body = redis.call('HGET', K.deliveryinfo, id)
  if body then
    redis.call('ZADD', K.deliveries, now + lease, id)
    taken[#taken + 1] = id
    taken[#taken + 1] = body
  else
    redis.call('ZREM', K.deliveries, id)
  end
end
return {'taken', taken}
