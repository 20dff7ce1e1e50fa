--! keys: record tokens
--! uses: whole
-- stream: append pieces of the answer that a model is writing, for whoever watches.
--
-- Nothing is decided by them, and the journal has the whole answer: the stream keeps the newest pieces, and goes some
-- time after the last one. Only the newest holder may write. Ids are <fence>-<number>: they grow with every
-- claim, so an offset stays behind what comes later even where the stream itself had gone in between.
-- Answers: streamed (last id) · stale · malformed. Replay: pieces whose number is there already are passed over.
--
-- ARGV: sid, fence, pieces kept, ms kept, number of the first piece, piece, …
local fence, kept, ms, first = ARGV[2], whole(ARGV[3]), whole(ARGV[4]), whole(ARGV[5])
if not (whole(fence) and kept and ms and first) or first < 1 then return {'malformed'} end
if redis.call('HGET', K.record, 'fence') ~= fence then return {'stale'} end
local last = redis.call('XREVRANGE', K.tokens, '+', '-', 'COUNT', 1)[1]
local top, number = string.match(last and last[1] or '0-0', '^(%d+)-(%d+)$')
for i = 6, #ARGV do
  local place = first + i - 6
  if tonumber(fence) > tonumber(top) or place > tonumber(number) then
    redis.call('XADD', K.tokens, 'MAXLEN', kept, fence .. '-' .. place, 'p', ARGV[i])
  end
end
redis.call('PEXPIRE', K.tokens, ms)
return {'streamed', fence .. '-' .. (first + #ARGV - 6)}
