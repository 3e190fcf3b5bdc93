# Others can sign: keys and signatures are made by openssl's own command, and the bytes to
# be signed by the few lines below, which know doc/signing.md and nothing of the server.

use strict;
use warnings FATAL => 'all';
use utf8;

use Encode qw(encode);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'openssl is not installed' if system('openssl version >/dev/null 2>&1') != 0;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $ann = '11111111-1111-1111-1111-111111111111';
my $bob = '22222222-2222-2222-2222-222222222222';

my $node = PostgreSQL::Test::Cluster->new('sign');
$node->init(extra => ['--encoding=UTF8', '--locale=C']);
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION offline_sync;
	CREATE TABLE note (id text PRIMARY KEY, title text, "größe" numeric, info json, tags orset, hits int);
	SELECT sync_enable_table('note', policies => '{"hits": "counter"}');
});
for my $database ('latin1', 'win1250')
{
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0 ENCODING '$database' LC_COLLATE 'C' LC_CTYPE 'C'");
	$node->safe_psql($database, 'CREATE EXTENSION offline_sync');
}

# A key pair; returns the public key in hex.
sub make_key
{
	my ($name) = @_;
	system_or_bail('openssl', 'genpkey', '-algorithm', 'ed25519', '-out', "$dir/$name.pem");
	system_or_bail('openssl', 'pkey', '-in', "$dir/$name.pem", '-pubout', '-outform', 'DER', '-out', "$dir/$name.der");
	return unpack 'H*', substr(slurp_file("$dir/$name.der"), -32);
}

# A signature of bytes, in hex.
sub sign
{
	my ($name, $bytes) = @_;
	open my $out, '>:raw', "$dir/bytes" or die $!;
	print $out $bytes;
	close $out;
	system_or_bail('openssl', 'pkeyutl', '-sign', '-rawin', '-inkey', "$dir/$name.pem",
		'-in', "$dir/bytes", '-out', "$dir/signature");
	return unpack 'H*', slurp_file("$dir/signature");
}

sub string
{
	my ($text) = @_;
	my %short = ("\b" => 'b', "\f" => 'f', "\n" => 'n', "\r" => 'r', "\t" => 't', '"' => '"', '\\' => '\\');
	$text =~ s/([\x00-\x1f"\\])/'\\' . ($short{$1} || sprintf('u%04x', ord $1))/ge;
	return "\"$text\"";
}

# undef: null; a reference: JSON text as it is; else a string
sub value
{
	my ($value) = @_;
	return !defined $value ? 'null' : ref $value eq 'SCALAR' ? $$value
		: ref $value eq 'ARRAY' ? '[' . join(',', map { string($_) } sort { encode('UTF-8', $a) cmp encode('UTF-8', $b) } @$value) . ']'
		: string($value);
}

sub object
{
	my ($cells) = @_;
	return '{' . join(',', map { string($_) . ':' . value($cells->{$_}) }
		sort { encode('UTF-8', $a) cmp encode('UTF-8', $b) } keys %$cells) . '}';
}

# The canonical JSON of a delta; characters, not bytes.
sub canonical
{
	my ($delta) = @_;
	my @changes;
	for my $change (@{$delta->{changes}})
	{
		my @members = ("\"seq\":$change->{seq}", "\"hlc\":\"$change->{hlc}\"");
		push @members, '"table":' . string($change->{table}), '"key":' . object($change->{key}) if $change->{table};
		push @members, map { "\"$_\":" . object($change->{$_}) } grep { $change->{$_} } qw(insert set increment add remove);
		push @members, '"delete":true' if $change->{delete};
		push @members, '"intent":' . string($change->{intent}) if $change->{intent};
		push @members, '"args":' . ${$change->{args}} if $change->{args};
		push @members, "\"group\":$change->{group}" if $change->{group};
		push @changes, '{' . join(',', @members) . '}';
	}
	my @members = ('"format":1', "\"replica\":\"$delta->{replica}\"",
		'"context":{' . join(',', map { "\"$_\":$delta->{context}{$_}" } sort keys %{$delta->{context}}) . '}');
	push @members, "\"hlc\":\"$delta->{hlc}\"" if $delta->{hlc};
	push @members, "\"schema_version\":$delta->{schema_version}" if $delta->{schema_version};
	return '{' . join(',', @members, '"changes":[' . join(',', @changes) . ']') . '}';
}

sub bytes { return encode('UTF-8', "offline_sync delta 1\n" . canonical($_[0])); }

# The delta as it is sent, sealed: the same members in another order, and with blanks.
sub sealed
{
	my ($delta, $signature) = @_;
	my $text = canonical($delta);
	$text =~ s/^\{"format":1,"replica":"([^"]*)",(.*)\}$/{ "signature" : "ed25519:$signature", $2 , "replica":"\U$1\E", "format": 1 }/s;
	return $text;
}

sub query
{
	my ($sql, $database) = @_;
	return $node->safe_psql($database || 'postgres', encode('UTF-8', "SET client_encoding = UTF8; $sql"));
}

# status|acked_seq|reason
sub push_text
{
	my ($text) = @_;
	return query("SELECT status, acked_seq, outcomes #>> '{0,reason}' FROM sync_apply_delta(\$delta\$$text\$delta\$)");
}

my $seq = 0;

# A delta of one change of ann's note x
sub small_delta
{
	my ($title) = @_;
	$seq++;
	return { replica => $ann, context => {}, changes => [ {
		seq => $seq, hlc => '2026-11-20T10:00:00.000Z/0', table => 'note', key => { id => "n$seq" },
		insert => { title => $title } } ] };
}

my $first = make_key('first');
my $second = make_key('second');
query("SELECT sync_register_device('$ann', public_key => '\\x$first'), sync_register_device('$bob', public_key => '\\x$first');
	SELECT sync_require_signature('$ann')");

# everything that a delta can say
my $hlc = '2026-11-20T10:00:00.000Z/';
my $rich = {
	replica => $ann, context => { $ann => 0 + 0, $bob => '"4,9-12"' }, hlc => '2026-11-20T09:00:00.001Z/65535', schema_version => 1,
	changes => [
		{ seq => 1, hlc => "${hlc}0", table => 'note', key => { id => "\x{fffd}\x{1f600}\"\\\b\f\n\r\t\x01\x1f/\x7f" },
			insert => { title => undef, 'größe' => \'1.50e1', info => \'{ "b":[1 , 2],"a":"\\u00e9\\/" }', tags => ['ä', 'z', 'a', "\x{1f600}", "\x{fffd}"] } },
		{ seq => 2, hlc => "${hlc}1", table => 'note', key => { id => '2' }, insert => { info => \'{"$json":null}', title => '{}' }, group => 7 },
		{ seq => 3, hlc => "${hlc}2", table => 'note', key => { id => '2' }, set => { title => '' , info => \'true' }, increment => { hits => \'-2' },
			add => { tags => ['b', 'B'] }, remove => { tags => ['c'] }, group => 7 },
		{ seq => 4, hlc => "${hlc}3", table => 'note', key => { id => '2' }, delete => 1 },
		{ seq => 5, hlc => "${hlc}4", intent => 'grüßen', args => \'{"to" : null}' },
		{ seq => 6, hlc => "${hlc}5", intent => 'wave' } ] };
delete $rich->{context}{$ann};

my $server_bytes = query('SELECT encode(sync_canonical_bytes($delta$' . sealed($rich, '00') . '$delta$), $$hex$$)');
is($server_bytes, unpack('H*', bytes($rich)), 'the bytes are those of the server');
my $signature = sign('first', bytes($rich));
is($signature, sign('first', pack 'H*', $server_bytes), 'and so is the signature');
is(push_text(sealed($rich, $signature)), 'partial|6|unknown_intent', 'a signed delta is taken');
is(push_text(sealed($rich, $signature)), 'duplicate|6|unknown_intent', 'replayed: nothing new');
is(push_text(sealed({ %$rich, replica => $bob }, $signature)), 'rejected|0|bad_signature', 'in the name of another device with that key: refused');
is(push_text(canonical($rich)), 'rejected|6|signature_required', 'stripped: refused');

# the same in databases with other encodings, where names have another order
my $umlaut = { replica => $ann, context => {}, changes => [ { seq => 1, hlc => "${hlc}0", table => 'note', key => { id => 'é' },
		set => { 'ź' => \'{"é":"ö"}', 'á' => \'{"$json":{"$json":"ü"}}', 'ý' => ['ź', 'á', 'í'] } } ] };
$umlaut->{changes}[0]{set}{'ý'} = 'ź';
$umlaut->{changes}[0]{add}{'tags'} = ['ź', 'á', 'í'];
is(query('SELECT encode(sync_canonical_bytes($delta$' . sealed($umlaut, '00') . '$delta$), $$hex$$)', 'win1250'),
	unpack('H*', bytes($umlaut)), 'the bytes are the same whatever the database\'s encoding');
(my $other = canonical($umlaut)) =~ tr/ź/þ/;
is(query('SELECT encode(sync_canonical_bytes($delta$' . $other . '$delta$), $$hex$$)', 'latin1'),
	query('SELECT encode(sync_canonical_bytes($delta$' . $other . '$delta$), $$hex$$)'), 'LATIN1 as well');

# forged: each bit of the signature counts, each byte of the content, and who signed
$seq = 6;
my $delta = small_delta('seven');
$signature = sign('first', bytes($delta));
my $taken = 0;
for my $bit (map { $_ * 8 + $_ % 8 } 0 .. 63)
{
	my $forged = pack 'H*', $signature;
	vec($forged, $bit, 1) ^= 1;
	$taken++ if push_text(sealed($delta, unpack 'H*', $forged)) ne 'rejected|6|bad_signature';
}
is($taken, 0, 'a changed bit anywhere in the signature: refused');
is(push_text(sealed({ %$delta, context => { $bob => 1 } }, $signature)), 'rejected|6|bad_signature', 'another context: refused');
is(push_text(sealed({ %$delta, hlc => "${hlc}0" }, $signature)), 'rejected|6|bad_signature', 'another hlc: refused');
is(push_text(sealed({ %$delta, schema_version => 1 }, $signature)), 'rejected|6|bad_signature', 'another version: refused');
is(push_text(sealed({ %$delta, changes => [] }, $signature)), 'rejected|6|bad_signature', 'no changes: refused');
is(push_text(sealed($delta, sign('second', bytes($delta)))), 'rejected|6|bad_signature', 'a stranger\'s signature: refused');
is(push_text(sealed($delta, sign('first', encode('UTF-8', canonical($delta))))), 'rejected|6|bad_signature', 'a signature of the JSON alone: refused');
is(query("SELECT count(*) FROM note WHERE id = 'n7'"), '0', 'nothing of all that was stored');
is(push_text(sealed($delta, $signature)), 'applied|7|', 'as it was signed: taken');

# rotated: the old key is good until its time has come
query("SELECT sync_rotate_key('$ann', '\\x$second')");
$delta = small_delta('eight');
is(push_text(sealed($delta, sign('first', bytes($delta)))), 'applied|8|', 'the old key during the overlap: taken');
$delta = small_delta('nine');
is(push_text(sealed($delta, sign('second', bytes($delta)))), 'applied|9|', 'the new key: taken');
query("UPDATE offline_sync.device SET previous_key_until = now() - interval '1 second' WHERE device = '$ann'");
$delta = small_delta('ten');
is(push_text(sealed($delta, sign('first', bytes($delta)))), 'rejected|9|bad_signature', 'the old key after it: refused');
is(push_text(sealed($delta, sign('second', bytes($delta)))), 'applied|10|', 'the new key: taken');

# a checksum of bytes as damage would leave them
is(push_text('{"checksum":"crc32c:00000000",' . substr(sealed($delta, sign('second', bytes($delta))), 1)), 'rejected|10|bad_checksum',
	'a wrong checksum: refused');

query("SELECT sync_revoke_device('$ann')");
$delta = small_delta('eleven');
is(push_text(sealed($delta, sign('second', bytes($delta)))), 'rejected|10|device_revoked', 'revoked: refused');

done_testing();
