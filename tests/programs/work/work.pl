# Purpose: Perl work with the same output in every run. Run by cases/perl.py.
use strict;
use warnings;
use threads;
use Digest::MD5 qw(md5_hex);
use Storable qw(freeze thaw dclone);

# Hashes of arrays of strings that grow and shrink.
sub churn {
    my ($seed) = @_;
    my %table;
    for my $i (1 .. 60_000) {
        my $key = 'k' . ($i * $seed * 7919 % 701);
        push @{ $table{$key} }, 'v' x ($i % 97);
        splice @{ $table{$key} }, 0, 10 if @{ $table{$key} } > 15;
        delete $table{ 'k' . ($i % 701) } if $i % 11 == 0;
    }
    return md5_hex(join ',', map { "$_=" . join('|', @{ $table{$_} }) } sort keys %table);
}

print 'churn ', churn($_), "\n" for 1 .. 3;

my $text = join ' ', map { "word$_ " . ('x' x ($_ % 50)) } 1 .. 5000;
(my $changed = $text) =~ s/(\w+?)(\d)/$2$1/g;
print 'regex ', md5_hex($changed), ' ', scalar(() = $text =~ /x{30,}/g), "\n";

my $copy = thaw(freeze({ list => [ 1 .. 1000 ], nested => dclone({ map { $_ => [ ($_) x 10 ] } 1 .. 500 }) }));
print 'storable ', scalar keys %{ $copy->{nested} }, ' ', $copy->{nested}{77}[9], "\n";

my $long = '';
$long .= chr(65 + $_ % 26) x 10 for 1 .. 100_000;
print 'append ', length $long, ' ', md5_hex($long), "\n";

# An interpreter thread copies the whole interpreter, and frees it again at its end.
my @threads = map { threads->create(\&churn, $_) } 1 .. 4;
print 'thread ', $_->join, "\n" for @threads;

for my $n (1 .. 4) {
    my $pid = open my $child, '-|' // die "fork: $!";
    if (!$pid) { print churn($n); exit 0; }
    print 'fork ', <$child>, "\n";
    close $child or die "child: $?";
}

local $SIG{ALRM} = sub { my @garbage = map { 'y' x $_ } 1 .. 200; };
kill ALRM => $$ for 1 .. 50;
print 'sorted ', md5_hex(join ',', sort { $a <=> $b || $a cmp $b } map { $_ * 7919 % 10007 } 1 .. 50_000), "\n";
