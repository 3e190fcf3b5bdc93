# What only reads works on a hot standby: digests and views, beside the pulls of
# 002_standby.pl.  Promoted, the devices' digests still agree.

use strict;
use warnings FATAL => 'all';

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib "$FindBin::RealBin/../perl";
use SyncDevice;
use SyncStandby;

my @uuid = map { sprintf 'd0000000-0000-4000-8000-%012d', $_ } 0 .. 3;

my ($primary, $standby) = start_with_standby(init => [ extra => [ '--encoding=UTF8', '--locale=C' ] ]);

sub primary { return $primary->safe_psql('postgres', shift) }
sub standby { return $standby->safe_psql('postgres', shift) }
sub digest_at { my ($node, $n) = @_; return $node->safe_psql('postgres', "SELECT digest, row_count FROM sync_digest('$uuid[$n]', '')") }

primary(q{
	CREATE EXTENSION offline_sync;
	CREATE TABLE note (id int PRIMARY KEY, body text, done boolean, amount numeric);
	INSERT INTO note SELECT n, E'body \"\\\\' || n || E'\n\u00e4', n % 2 = 0, n / 8.0 FROM generate_series(1, 300) n;
	INSERT INTO note VALUES (301, NULL, NULL, NULL);
	SELECT sync_enable_table('note');
});
primary("SELECT sync_register_device('$uuid[$_]')") for 1 .. 3;
catch_up($primary, $standby);

my @device = (undef, map { SyncDevice->new($uuid[$_]) } 1 .. 3);
$device[1]->pull($standby, 50);
is($device[1]->count('note'), 301, 'a device bootstraps from the standby');
is(digest_at($standby, 1), $device[1]->digest, 'and holds what the standby says it should');
is(digest_at($primary, 1), $device[1]->digest, 'so says the primary');
is($device[2]->digest, '0' x 32 . '|0', 'a device without rows has the digest of nothing');
isnt(digest_at($standby, 2), $device[2]->digest, 'which is not what it should hold');

# --- one that lags ---
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
primary(q{UPDATE note SET body = 'changed' WHERE id = 7});
is(digest_at($standby, 1), $device[1]->digest, 'a standby that lags says what devices get from it');
isnt(digest_at($primary, 1), $device[1]->digest, 'and the primary what is to come');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
catch_up($primary, $standby);
is($device[1]->pull($standby), 1, 'which then comes');
is(digest_at($standby, 1), $device[1]->digest, 'they agree again');

# --- a row that went wrong is found ---
my ($key) = grep { /:77\b/ } keys %{ $device[1]{rows}{note} };
$device[1]{rows}{note}{$key}{body} .= '!';
isnt(digest_at($standby, 1), $device[1]->digest, 'a changed cell is noticed');
is( standby("SELECT sum(r) = 301 AND count(*) > 100 FROM (SELECT p.row_count, (SELECT count(*) FROM sync_digest_rows('$uuid[1]', '', p.part)) AS r FROM sync_digest_parts('$uuid[1]', '') p) x WHERE r = row_count"),
	't', 'parts and rows can be asked for on a standby');
$device[1]{rows}{note}{$key}{body} =~ s/!$//;

# --- which scopes have changed ---
my $seen = standby('SELECT seen FROM sync_changed_scopes(NULL)');
is(standby("SELECT scopes FROM sync_changed_scopes('$seen')"), '{}', 'nothing has changed since');
my $late = $primary->background_psql('postgres');
$late->query_safe(q{BEGIN; UPDATE note SET amount = 1 WHERE id = 8});
primary(q{UPDATE note SET amount = 1 WHERE id = 9});
catch_up($primary, $standby);
is(standby("SELECT scopes FROM sync_changed_scopes('$seen')"), '{""}', 'a standby tells which scopes have');
$seen = standby("SELECT seen FROM sync_changed_scopes('$seen')");
is(standby("SELECT scopes FROM sync_changed_scopes('$seen')"), '{}', 'once');
$late->query_safe('COMMIT');
$late->quit;
catch_up($primary, $standby);
is(standby("SELECT scopes FROM sync_changed_scopes('$seen')"), '{""}', 'a transaction that commits late is not missed');
$device[1]->pull($standby);
is(standby("SELECT count(*) FROM sync_channels('$uuid[1]')"), '2', 'channels have the same names everywhere');
my ($rc, $out, $err) = $standby->psql('postgres', 'SELECT sync_send_notices()');
like($err, qr/cannot execute sync_send_notices\(\)/, 'notices are sent by the primary');

# --- views ---
for my $view (split /\n/, primary(q{SELECT viewname FROM pg_views WHERE schemaname = 'public' AND viewname LIKE 'sync%' ORDER BY 1}))
{
	is(standby("SELECT count(*) FROM $view"), primary("SELECT count(*) FROM $view"), "$view can be read on a standby");
}
is(standby("SELECT acked_seq FROM sync_hello('$uuid[1]')"), '0', 'sync_hello, too');

# --- promotion ---
$device[2]->pull($standby);
$device[1]->write('note', { id => 3 }, { set => { body => 'of a device' } });
$device[1]->push($primary);
catch_up($primary, $standby);
$primary->stop('immediate');
$standby->promote;
is(digest_at($standby, 1), $device[1]->digest, 'promoted, it says the same of what was pushed before');
standby(q{UPDATE note SET amount = amount + 0.125 WHERE id <= 20});
$device[2]->write('note', { id => 4 }, { set => { body => 'of another' } });
is($device[2]->push($standby)->{status}, 'applied', 'devices push on');
$device[$_]->pull($standby) for 1 .. 3;
is(join(' ', map { digest_at($standby, $_) } 1 .. 3), join(' ', map { $device[$_]->digest } 1 .. 3), 'all hold what they should');
is($device[$_]{resets}, 0, "device $_ did not start again") for 1 .. 2;

$standby->stop;
done_testing();
