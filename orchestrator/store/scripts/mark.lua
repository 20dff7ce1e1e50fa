--! keys: record context intents marks
-- mark: keep how a session stands now, so that a look back at it need not begin at its first entry.
-- What is kept follows from the journal: nothing is lost where a mark is missing. The same mark again changes nothing.
--
--   marks   stream   <seq>-0: how many messages, which calls are announced, then the record's fields
--
-- ARGV: sid
local record = redis.call('HGETALL', K.record)
if #record == 0 then return {'missing'} end
local seq = redis.call('HGET', K.record, 'seq')
local last = redis.call('XREVRANGE', K.marks, '+', '-', 'COUNT', 1)[1]
if last and last[1] == seq .. '-0' then return {'marked', seq} end
redis.call('XADD', K.marks, seq .. '-0', '#messages', redis.call('LLEN', K.context), '#announced',
  table.concat(redis.call('HKEYS', K.intents), '\n'), unpack(record))
return {'marked', seq}
