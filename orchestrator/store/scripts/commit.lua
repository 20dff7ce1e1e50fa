--! keys: record journal context mailbox intents due leases by sent dead deadinfo stats
--! uses: clock index journal record bury
-- commit: the one atomic write that ends a step, or goes on with the next under the same lease.
--
-- Refused with "stale" unless the fence is the newest and the revision the one that was read.
-- Replay: the same commit again (a lost reply) finds `last` = fence:rev and is answered as it was.
-- Everything is checked before the first write: a Lua error would not be rolled back.
--
--   record   hash    patched, rev + 1, attempts 0      context  list    messages appended
--   journal  stream  entries appended                   mailbox  list    posts taken from its head
--   intents  hash    set and cleared                    leases, due, by, sent   as the directive says
--
-- Directives: continue (keep the lease) · ready · waiting (until `due`) · finalizing · ended · dead.
-- ARGV: sid, fence, rev, directive, due ms or -1, sent-until ms or 0, lease ms, status, reason, stat,
--       bucket, limits (state, message, entry bytes, entries, messages), counts (fields, entries, messages,
--       posts taken, intents set, intents cleared), then the values in that order.
local sid, fence, rev, directive = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local f = read_record()
if not f then return {'missing'} end
local mark = fence .. ':' .. rev
if f.last == mark then return {'committed', f.phase, f.cancel, f.posts, 'replay'} end
if f.fence ~= fence or f.rev ~= rev then return {'stale', f.fence, f.rev} end

local phase = directive
if directive == 'continue' then phase = f.phase end
if not ALLOWED[f.phase .. '>' .. phase] then return {'refused', f.phase, phase} end

local state_limit, message_limit, entry_limit, entries_limit, context_limit =
  tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15]), tonumber(ARGV[16])
local fields, entries, messages = tonumber(ARGV[17]), tonumber(ARGV[18]), tonumber(ARGV[19])
local taken, intents, cleared = tonumber(ARGV[20]), tonumber(ARGV[21]), tonumber(ARGV[22])
local at_fields = 23
local at_entries = at_fields + 2 * fields
local at_messages = at_entries + entries
local at_intents = at_messages + messages
local at_cleared = at_intents + 2 * intents
if #ARGV ~= at_cleared + cleared - 1 then return {'malformed', #ARGV} end
if taken > f.posts then return {'malformed', taken} end
for i = at_fields, at_entries - 1, 2 do
  if #ARGV[i + 1] > state_limit then return {'large', ARGV[i], #ARGV[i + 1], state_limit} end
end
for i = at_entries, at_messages - 1 do
  if #ARGV[i] > entry_limit then return {'large', 'journal entry', #ARGV[i], entry_limit} end
end
for i = at_messages, at_intents - 1 do
  if #ARGV[i] > message_limit then return {'large', 'message', #ARGV[i], message_limit} end
end
if messages > 0 then
  local length = redis.call('LLEN', K.context) + messages
  if length > context_limit then return {'large', 'context messages', length, context_limit} end
end
local seq = tonumber(f.seq)
if seq + entries > entries_limit and phase ~= 'dead' and phase ~= 'ended' then
  return {'large', 'journal', seq + entries, entries_limit}
end

local now = now_ms()
for i = at_entries, at_messages - 1 do
  seq = seq + 1
  append_entry(K.journal, seq, now, ARGV[i])
end
for i = at_messages, at_intents - 1 do redis.call('RPUSH', K.context, ARGV[i]) end
for i = at_intents, at_cleared - 1, 2 do redis.call('HSET', K.intents, ARGV[i], ARGV[i + 1]) end
for i = at_cleared, #ARGV do redis.call('HDEL', K.intents, ARGV[i]) end
local posts = f.posts
if taken > 0 then
  redis.call('LTRIM', K.mailbox, taken, -1)
  posts = posts - taken
end

local patch = {'rev', tonumber(rev) + 1, 'last', mark, 'seq', seq, 'attempts', '0', 'updated', now}
for i = at_fields, at_entries - 1 do patch[#patch + 1] = ARGV[i] end
if taken > 0 then
  patch[#patch + 1] = 'posts'
  patch[#patch + 1] = posts
end
if directive ~= 'continue' then
  -- A post that came while the step ran must not wait for the deadline: the session stays ready.
  if phase == 'waiting' and posts > 0 then phase = 'ready' end
  local status = phase == 'ended' and ARGV[8] or f.status
  patch[#patch + 1] = 'phase'
  patch[#patch + 1] = phase
  patch[#patch + 1] = 'status'
  patch[#patch + 1] = status
  patch[#patch + 1] = 'since'
  patch[#patch + 1] = now
  redis.call('ZREM', K.leases, sid)
  if phase == 'dead' then
    redis.call('HSET', K.record, unpack(patch))
    redis.call('HINCRBY', K.stats, ARGV[10], 1)
    f.seq = seq
    bury(sid, f, now, ARGV[9], ARGV[8])
    return {'committed', phase, '', posts, now}
  end
  reindex(K.by, sid, f.app, f.rank, {phase = f.phase, status = f.status, since = tonumber(f.since)},
    {phase = phase, status = status}, now)
  if phase == 'waiting' then
    if ARGV[5] ~= '-1' then redis.call('ZADD', K.due, ARGV[5], sid) end
  elseif phase == 'ended' then
    redis.call('HINCRBY', K.stats, 'ended:' .. f.app .. ':' .. status, 1)
  elseif ARGV[6] ~= '0' then
    redis.call('ZADD', K.sent, now + tonumber(ARGV[6]), sid)
  end
end
redis.call('HSET', K.record, unpack(patch))
redis.call('HINCRBY', K.stats, ARGV[10], 1)
redis.call('HINCRBY', K.stats, ARGV[11], 1)
return {'committed', phase, f.cancel, posts, now}
