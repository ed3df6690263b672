# Arithmetic, formats and text in Perl: the same program must print the same wherever it runs.
use strict;
use warnings;
use integer;

my $seed = 12345;
sub draw { $seed = ($seed * 1103515245 + 12345) & 0x7fffffff; return $seed }

my @drawn = map { draw() } 1 .. 200;
print "integers: ", join(" ", map { $_ / 7 % 1000 } @drawn[0 .. 19]), "\n";
print "bits: ", unpack("%32b*", pack("V*", @drawn)), "\n";
{
    no integer;
    my @real = map { ($_ - 1e9) / 12345.678 } @drawn;
    my $sum = 0;
    $sum += $_ for @real;
    printf "sum: %.15g %.6e %.3f\n", $sum, $sum, $sum;
    printf "formats: %s\n", join " ", map { sprintf "%.10g|%+.2e|%08.3f", $_, $_, $_ } @real[0 .. 9];
    printf "roots: %s\n", join " ", map { sprintf "%.17g", sqrt abs } @real[0 .. 9];
    printf "quotients: %s\n", join " ", map { sprintf "%.17g", $real[$_] / $real[$_ + 1] } 0 .. 9;
    printf "int: %s\n", join " ", map { int $_ } @real[0 .. 9];
    printf "hex: %x %o %b %s\n", 3735928559, 511, 1023, 0xffffffff + 1;
    print "packed: ", unpack("H*", pack("d4 f4", @real[0 .. 7])), "\n";
}
my $text = join "", map { chr(97 + $_ / 65536 % 26) } @drawn;
(my $changed = $text) =~ s/([aeiou])(\w)/$2\U$1/g;
print "text: $changed\n";
print "sorted: ", join("", sort { $b cmp $a } split //, $text), "\n";
my %count;
$count{$_}++ for $text =~ /[a-m]+/g;
print "counted: ", join(",", map { "$_=$count{$_}" } sort keys %count), "\n";
print "reversed: ", scalar reverse($text), "\n";
