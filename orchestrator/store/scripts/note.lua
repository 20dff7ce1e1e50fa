--! keys: audit
--! uses: whole
-- note: add a line to the operators' log.
-- Answers: noted (its number) · malformed. Replay: the last lines are known by their requests; noted, once.
--
--   audit   stream   e the line, r the name of the request; so many lines, about, are kept
--
-- ARGV: name of this very request, line, most lines
local request, line, most = ARGV[1], ARGV[2], whole(ARGV[3])
if not most or request == '' then return {'malformed'} end
for _, found in ipairs(redis.call('XREVRANGE', K.audit, '+', '-', 'COUNT', 100)) do
  if found[2][4] == request then return {'noted', found[1]} end
end
return {'noted', redis.call('XADD', K.audit, 'MAXLEN', '~', most, '*', 'e', line, 'r', request)}
