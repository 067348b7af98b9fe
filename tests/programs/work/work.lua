-- Purpose: Lua work with the same output in every run. Run by cases/lua.py.

local function checksum(text)
  local sum = 7
  for i = 1, #text do sum = (sum * 31 + text:byte(i)) & 0xffffffff end
  return sum
end

-- Tables of strings that grow, shrink and are rehashed.
local function churn(seed)
  local tables = {}
  for i = 1, 60000 do
    local key = "k" .. i * seed * 7919 % 701
    local list = tables[key] or {}
    tables[key] = list
    list[#list + 1] = ("v"):rep(i % 200) .. i
    if #list > 30 then tables[key] = nil end
  end
  local keys = {}
  for key in pairs(tables) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do keys[i] = key .. table.concat(tables[key], "|") end
  return checksum(table.concat(keys, ","))
end

for _, mode in ipairs { "incremental", "generational" } do
  collectgarbage(mode)
  for seed = 1, 4 do print(mode, churn(seed)) end
  collectgarbage()
end

collectgarbage("setpause", 100)
local waves = {}
for i = 1, 5000 do
  waves[i] = coroutine.wrap(function() for n = 1, 3 do coroutine.yield(("x"):rep(i % 100) .. n) end end)
end
local total = 0
for _ = 1, 3 do for i = 1, 5000 do total = total + #waves[i]() end end
print("coroutines", total)

local weak, kept = setmetatable({}, { __mode = "v" }), {}
for i = 1, 10000 do
  weak[i] = { i }
  if i % 10 == 0 then kept[#kept + 1] = weak[i] end
end
collectgarbage()
local alive = 0
for _ in pairs(weak) do alive = alive + 1 end
print("weak", alive)

local text = ("word "):rep(40000)
print("strings", checksum(text:gsub("w(o)rd", "%1%1"):upper()), #text:reverse(), select(2, text:gsub("%a+", {})))
print("load", load("return " .. ("1 + "):rep(5000) .. "1")())
print("memory", pcall(string.rep, "x", 1 << 50))
