-- Entry ids are <seq>-0 without gaps, so Redis itself refuses to write a number twice.
local function append_entry(journal, seq, now, body)
  redis.call('XADD', journal, seq .. '-0', 't', now, 'e', body)
end

-- An entry that the store itself makes: a wake-up fell due, a holder died, a session was buried.
local function store_entry(kind, fence, attempt, data)
  return '{"kind":"' .. kind .. '","actor":"store","fence":' .. fence .. ',"attempt":' .. attempt
    .. ',"data":' .. data .. '}'
end
