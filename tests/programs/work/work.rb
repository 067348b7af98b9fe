# Purpose: Ruby work with the same output in every run. Run by cases/ruby.py.
require 'digest'
require 'json'
require 'zlib'

def churn(seed)
  table = Hash.new { |hash, key| hash[key] = [] }
  80_000.times do |i|
    key = "k#{i * seed * 7919 % 701}"
    table[key] << 'v' * (i % 300)
    table[key].shift(10) if table[key].size > 15
  end
  Digest::MD5.hexdigest(table.sort.flatten.join(','))
end

3.times { |i| puts "churn #{churn(i + 1)}" }

tree = ->(depth) { depth.zero? ? 'leaf' * 5 : { 'a' => tree.(depth - 1), 'b' => [tree.(depth - 1), depth] } }
text = JSON.generate(tree.(12))
puts "json #{text.size} #{Digest::MD5.hexdigest(JSON.pretty_generate(JSON.parse(text)))}"
puts "zlib #{Zlib::Inflate.inflate(Zlib::Deflate.deflate(text)) == text}"

GC.start
GC.compact if GC.respond_to?(:compact)
GC.stress = true
puts "stress #{(1..30).map { |i| "s#{i}" * i }.join.size}"
GC.stress = false

puts "threads #{(1..4).map { |i| Thread.new { churn(i) } }.map(&:value).join(' ')}"
puts "fibers #{(1..2000).map { |i| Fiber.new { Fiber.yield i * 2; 1 } }.sum(&:resume)}"

4.times do |i|
  reader, writer = IO.pipe
  pid = fork { reader.close; writer << churn(i + 1); writer.close }
  writer.close
  puts "fork #{reader.read} #{Process.wait2(pid)[1].exitstatus}"
end

puts "bignum #{Digest::MD5.hexdigest((1..1500).inject(:*).to_s)}"
puts "regex #{('ab12' * 5000).gsub(/([a-z]+)(\d+)/) { "#{$2}#{$1}" }.sum}"
