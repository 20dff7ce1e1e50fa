-- The rank of a session that was asked to stop: before all others, and no longer among those that need a sandbox. What is
-- left to do of it any worker can do.
local function front(rank) return '!' .. (string.match(rank, '%d') or '1') end
