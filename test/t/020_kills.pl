# The server is killed, all processes at once, at random moments of a stream of pushes,
# submissions to the queue, pulls and local SQL.  Each time: what was acknowledged is
# in the journal, and its effect in the tables, once; what was not is sent again; and
# devices that have pulled everything hold what the server says they should.
#
# KILLS, SEED and SYNCHRONOUS_COMMIT (on; mixed: each third time off in all sessions, and
# each third time in some, which must make no difference to devices) from the environment;
# test/crash.sh sets them.  A seed chooses what is done and when to kill, but not how far
# the server comes by then.

use strict;
use warnings FATAL => 'all';

use FindBin;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes 'time';

use lib "$FindBin::RealBin/../perl";
use SyncCrash;
use SyncDevice;
use SyncSession;

my $kills = $ENV{KILLS} // 5;
my $seed = $ENV{SEED} // 1;
my $synchronous_commit = $ENV{SYNCHRONOUS_COMMIT} // 'mixed';
my $json = JSON::PP->new->canonical->allow_nonref;
srand $seed;

my %scopes = (1 => [ '', 'a' ], 2 => [ '', 'b' ], 3 => [ '', 'a', 'b' ], 4 => [ '', 'a', 'b' ]);
my @numbers = sort keys %scopes;
sub uuid { return sprintf 'd0000000-0000-4000-8000-%012d', shift }

my $node = PostgreSQL::Test::Cluster->new('kills');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
# What nobody waits for is flushed by nobody, so that what is only written is lost.
$node->append_conf('postgresql.conf',
	"fsync = on\nfull_page_writes = on\nsynchronous_commit = on\nwal_writer_delay = 10s\nautovacuum = off\n"
	  . "log_min_messages = fatal\nlog_statement = none\nlog_checkpoints = off\nrecovery_init_sync_method = syncfs\noffline_sync.max_queued = 1000\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION offline_sync;
	CREATE TABLE own (device int, slot int, body text, version int, PRIMARY KEY (device, slot));
	CREATE TABLE tally (id int PRIMARY KEY, total int NOT NULL DEFAULT 0);
	CREATE TABLE shared (id int PRIMARY KEY, team text NOT NULL, body text, hits int NOT NULL DEFAULT 0);
	SELECT sync_enable_table('own');
	SELECT sync_enable_table('tally', NULL, '{"total": "counter"}');
	SELECT sync_enable_table('shared', 'team', '{"hits": "counter"}');
	INSERT INTO tally SELECT generate_series(0, 4);
	INSERT INTO shared SELECT n, CASE WHEN n % 2 = 0 THEN 'a' ELSE 'b' END, 'from the beginning' FROM generate_series(1, 40) n;
});
$node->safe_psql('postgres', sprintf q{SELECT sync_register_device('%s', '{%s}')}, uuid($_), join ',', map { qq("$_") } @{ $scopes{$_} })
  for @numbers;

# ---------------------------------------------------------------------------
# Devices
# ---------------------------------------------------------------------------

# stored: the effect of its changes up to stored_seq, which nobody else has on these
# rows; acked: what it was told is stored; live: its own rows as it sees them
my %client = map {
	$_ => {
		n => $_,
		device => SyncDevice->new(uuid($_)),
		submitted => [],
		acked => 0,
		live => {},
		stored => { own => {}, tally => 0, all => 0 },
		stored_seq => 0,
	}
} @numbers;

sub write_change
{
	my ($client) = @_;
	my $device = $client->{device};
	my $kind = rand;
	if ($kind < 0.5)
	{
		my $slot = int rand 12;
		my $is_there = $client->{live}{$slot};
		my %cells = (body => "ä \"$slot\" \\", version => $device->{seq} + 1);
		my $change = !$is_there ? { insert => \%cells } : rand() < 0.3 ? { delete => JSON::PP::true } : { set => { version => $cells{version} } };
		$client->{live}{$slot} = !$change->{delete};
		$device->write('own', { device => $client->{n}, slot => $slot }, $change);
	}
	elsif ($kind < 0.75)
	{
		$device->write('tally', { id => rand() < 0.5 ? 0 : $client->{n} }, { increment => { total => 1 } });
	}
	else
	{
		my $id = 1 + int rand 60;
		my @teams = grep { $_ ne '' } @{ $scopes{ $client->{n} } };
		my $is_there = $device->{rows}{shared}{qq({"id":$id})};
		$device->write('shared', { id => $id },
			!$is_there ? { insert => { team => $teams[ rand @teams ], body => "of $client->{n}" } }
			: rand() < 0.1 ? { delete => JSON::PP::true }
			: rand() < 0.1 ? { set => { team => $teams[ rand @teams ] } }
			: { set => { body => "of $client->{n}, $device->{seq}" }, increment => { hits => 1 } });
	}
	return;
}

# What the changes up to a seq must have made of the rows that only this device writes
sub replay
{
	my ($client, $seq) = @_;
	my $stored = $client->{stored};
	for my $c (@{ $client->{device}{sent} }[ $client->{stored_seq} .. $seq - 1 ])
	{
		if ($c->{table} eq 'tally')
		{
			$stored->{ $c->{key}{id} == 0 ? 'all' : 'tally' }++;
		}
		elsif ($c->{table} eq 'own')
		{
			my $cells = $c->{insert} || $c->{set};
			delete $stored->{own}{ $c->{key}{slot} };
			$stored->{own}{ $c->{key}{slot} } = $cells->{version} if $cells;
		}
	}
	$client->{stored_seq} = $seq;
	return;
}

# The next thing that a device does: a statement, and what becomes of its answer
sub device_step
{
	my ($client, $round) = @_;
	my $device = $client->{device};
	my $submitted = still_submitted($client);
	my $what = is_reading($round) ? 0 : rand;
	if ($what < 0.15)
	{
		return ('pull', $device->pull_sql(1 + int rand 30), sub { $device->take_page($_[0]) });
	}
	if ($what < 0.2)
	{
		return ('ack', sprintf(q{SELECT sync_ack('%s', '%s')}, $device->{uuid}, $json->encode($device->{vector})), sub { });
	}
	if (@$submitted && $what < 0.9)
	{
		my $s = $submitted->[0];
		return ('ask', "SELECT to_jsonb(a) || jsonb_build_object('corrections', a.corrections::text::jsonb) FROM sync_submission('$s->{id}') a",
			sub {
				my ($answer) = @_;
				die "a submission is gone: $s->{id}" if $answer eq '';
				return if $json->decode($answer)->{status} eq 'pending';
				shift @$submitted;
				take_answer($client, $answer, $s->{last})
				  if @{ $device->{outbox} } && $device->{outbox}[0]{seq} == $s->{first};
			});
	}
	write_change($client) for 1 .. (rand() < 0.05 ? 150 : 1 + rand 8);
	my $n = 1 + int rand @{ $device->{outbox} };
	my @changes = @{ $device->{outbox} }[ 0 .. $n - 1 ];
	if (rand() < 0.3)
	{
		return ('submit', "SELECT sync_submit_delta('" . $device->delta(@changes) =~ s/'/''/gr . "'::delta)",
			sub { push @$submitted, { id => $_[0], first => $changes[0]{seq}, last => $changes[-1]{seq} } });
	}
	return ('push', $device->push_sql($device->delta(@changes)),
		sub {
			my $before = $client->{acked};
			my $answer = take_answer($client, $_[0], $changes[-1]{seq});
			die "device $client->{n} was told $before, and now $answer->{acked_seq}" if $answer->{acked_seq} < $before;
		});
}

# What it may still ask for: of what it has acknowledged the answer may be gone.
sub still_submitted
{
	my ($client) = @_;
	my $settled = $client->{device}{vector}{ $client->{device}{uuid} } || 0;
	return $client->{submitted} = [ grep { $_->{last} > $settled } @{ $client->{submitted} } ];
}

sub take_answer
{
	my ($client, $text, $last) = @_;
	my $answer = $client->{device}->take_answer($text, $last);
	die "unexpected answer: $text" unless $answer->{status} =~ /^(applied|partial|duplicate|gap)$/;
	$client->{acked} = $answer->{acked_seq} if $client->{acked} < $answer->{acked_seq};
	return $answer;
}

# ---------------------------------------------------------------------------
# Local SQL, the queue's processor and an administrator
# ---------------------------------------------------------------------------
sub sql_step
{
	my $id = 1 + int rand 60;
	my $team = rand() < 0.5 ? 'a' : 'b';
	my @statements = map {
		my $kind = rand;
		    $kind < 0.3 ? "INSERT INTO shared VALUES ($id, '$team', 'by SQL') ON CONFLICT (id) DO UPDATE SET body = 'again', hits = shared.hits + 1;"
		  : $kind < 0.6 ? "UPDATE shared SET body = 'by SQL $id' WHERE id = $id;"
		  : $kind < 0.7 ? "UPDATE shared SET team = '$team' WHERE id BETWEEN $id AND $id + 3;"
		  : $kind < 0.8 ? "DELETE FROM shared WHERE id = $id;"
		  : $kind < 0.9 ? "UPDATE shared SET hits = hits + 1;"
		  :               "SELECT pg_current_xact_id();"
	} 1 .. 1 + rand 3;
	return ('sql', join(' ', 'BEGIN;', @statements, rand() < 0.2 ? 'ROLLBACK;' : 'COMMIT;'), sub { });
}

sub queue_step { return ('process', 'SELECT processed, failed FROM sync_process_queue(' . (1 + int rand 3) . ')', sub { }) }

sub admin_step
{
	my $what = rand;
	return ('admin', 'CHECKPOINT', sub { }) if $what < 0.1;
	return ('admin', 'SELECT * FROM sync_maintenance(100)', sub { }) if $what < 0.4;
	return ('admin', 'SELECT pg_sleep(0.01)', sub { });
}

# ---------------------------------------------------------------------------
# A stream, until the server is killed
# ---------------------------------------------------------------------------

# Now and then all commit asynchronously, and sometimes no device pushes then: so
# nothing is flushed but what a push, or a pull, has to flush itself.
sub is_asynchronous { my ($round) = @_; return $synchronous_commit eq 'mixed' && $round % 3 == 2 }
sub is_reading { my ($round) = @_; return is_asynchronous($round) && $round % 2 == 1 }

sub settings
{
	my ($round) = @_;
	my $chance_of_off = is_asynchronous($round) ? 1 : $synchronous_commit eq 'mixed' ? ($round % 3) / 2 : 0;
	my $value = rand() < $chance_of_off ? 'off' : 'on';
	return "SET synchronous_commit = $value; SET offline_sync.queue_retry_delay = 0";
}

my %in_flight;    # what was unanswered when the server was killed, and how often
my $answers = 0;

# Let all go on until so many answers have come, and for so many seconds more; then
# kill.  Returns the pushes that were unanswered: client and last seq.
sub stream
{
	my ($round, $wanted, $delay) = @_;
	my @actors = ((map { my $client = $_; { client => $client, step => sub { device_step($client, $round) } } } @client{@numbers}),
		{ step => \&sql_step }, { step => \&sql_step }, is_reading($round) ? () : ({ step => \&queue_step }, { step => \&queue_step }, { step => \&admin_step }));
	$_->{session} = SyncSession->new($node, 'postgres', settings($round)) for @actors;
	my @pids = server_pids($node);
	my $n = 0;
	my $deadline;

	while (!$deadline || time < $deadline)
	{
		for my $actor (grep { !$_->{session}->is_busy } @actors)
		{
			my ($what, $sql, $done) = $actor->{step}->();
			$actor->{what} = $what;
			$actor->{last} = $what eq 'push' ? ($sql =~ /.*"seq":(\d+)/s)[0] : undef;
			$actor->{session}->send($sql,
				sub {
					my ($answer, $sqlstate) = @_;
					$actor->{what} = 'nothing';
					$n++;
					# devices try again, SQL gives up
					return $done->($answer) unless defined $sqlstate;
					die "$sql: $answer" unless $sqlstate =~ /^(40P01|40001|57P0.|08...)$/;
				});
		}
		$deadline = time + $delay if !$deadline && $n >= $wanted;
		my $left = $deadline ? $deadline - time : 10;
		for my $session (SyncSession::ready($left > 0 ? $left : 0, map { $_->{session} } @actors))
		{
			$session->receive or die 'a session has ended by itself: ' . $session->{buffer};
		}
	}
	kill_server($node, @pids);

	# what has arrived by now was answered
	$_->{session}->finish for @actors;
	$answers += $n;
	$in_flight{ $_->{what} }++ for grep { $_->{client} } @actors;
	return map { { client => $_->{client}, last => $_->{last} } } grep { $_->{what} eq 'push' } @actors;
}

# ---------------------------------------------------------------------------
# What must be there
# ---------------------------------------------------------------------------

sub check_stored
{
	my ($session, $name) = @_;
	my (@lost, @journal, @effect);
	my $all = 0;
	for my $client (@client{@numbers})
	{
		my ($n, $uuid) = ($client->{n}, $client->{device}{uuid});
		my $acked = $session->ask("SELECT acked_seq FROM sync_hello('$uuid')");
		if ($acked < $client->{acked})
		{
			push @lost, "device $n was told $client->{acked} and the server has $acked";
			next;
		}
		$client->{acked} = $acked;
		for (@{ still_submitted($client) })
		{
			push @lost, "the submission of device $n up to $_->{last}"
			  unless $session->ask("SELECT count(*) FROM sync_queue WHERE submission = '$_->{id}'");
		}
		replay($client, $acked);
		my $ranges = $session->ask("SELECT coalesce(sum(last_seq - first_seq + 1), 0), coalesce(min(first_seq), 1), coalesce(max(last_seq), 0), coalesce(bool_or(is_twice), false)"
			  . " FROM (SELECT *, first_seq <= lag(last_seq) OVER (ORDER BY last_seq) AS is_twice FROM offline_sync.journal WHERE device = '$uuid' AND last_seq >= first_seq AND last_seq > 0) j");
		push @journal, "device $n has acknowledged $acked, in the journal: $ranges" if $ranges ne "$acked|1|$acked|f";

		my $stored = $client->{stored};
		my $expected = join ' ', (map { "$_:$stored->{own}{$_}" } sort { $a <=> $b } keys %{ $stored->{own} }), "total:$stored->{tally}";
		my $found = $session->ask("SELECT concat_ws(' ', (SELECT string_agg(slot || ':' || version, ' ' ORDER BY slot) FROM own WHERE device = $n), 'total:' || total) FROM tally WHERE id = $n");
		push @effect, "device $n: $found instead of $expected" if $found ne $expected;
		$all += $stored->{all};
	}
	is("@lost", '', "$name: what was acknowledged, or submitted, is stored");
	is("@journal", '', "$name: each change is in the journal once");
	push @effect, 'the sum of all is wrong' if !@lost && $session->ask('SELECT total FROM tally WHERE id = 0') != $all;
	is("@effect", '', "$name: and its effect is there, once");
	BAIL_OUT('what was acknowledged is lost') if @lost && $kills > 20;
	return;
}

sub is_in
{
	my ($scope) = @_;
	return sub { my ($table, $row) = @_; return ($table eq 'shared' ? $row->{team} : '') eq $scope };
}

# Everything is sent and pulled; then all agree.
sub heal
{
	my ($session, $name) = @_;
	my @refused;
	for my $client (@client{@numbers})
	{
		# those who forget what they submitted may send it themselves
		my $device = $client->{device};
		$client->{submitted} = [];
		while (@{ $device->{outbox} })
		{
			take_answer($client, $session->ask($device->push_sql($device->delta)), $device->{outbox}[-1]{seq});
		}
	}
	1 while $session->ask('SELECT processed FROM sync_process_queue()') > 0;
	push @refused, $session->ask(q{SELECT coalesce(string_agg(concat_ws(' ', device, first_seq, state, last_error), ', '), '') FROM sync_queue WHERE state <> 'answered'});
	my @differ;
	for my $client (@client{@numbers})
	{
		my $device = $client->{device};
		1 while $device->take_page($session->ask($device->pull_sql(50)))->{more};
		push @differ, compare($session, $client->{n}, $device);
	}
	is("@refused", '', "$name: the queue is empty");
	is("@differ", '', "$name: devices hold what the server says, row for row");
	check_stored($session, "$name, all sent");
	is($client{$_}{acked}, $client{$_}{device}{seq}, "$name: device $_ has nothing left to send") for @numbers;
	return;
}

sub compare
{
	my ($session, $n, $device) = @_;
	my @differ;
	for my $scope (@{ $scopes{$n} })
	{
		my $theirs = $session->ask("SELECT digest, row_count FROM sync_digest('$device->{uuid}', '$scope')");
		my $ours = $device->digest(is_in($scope));
		my %rows = map { my ($table, $key, $digest) = split /\|/; ("$table " . $json->encode($json->decode($key)) => $digest) }
		  split /\n/, $session->ask("SELECT * FROM sync_digest_rows('$device->{uuid}', '$scope')");
		my $hashes = $device->row_hashes(is_in($scope));
		my @rows = grep { ($rows{$_} // '') ne unpack 'H*', $hashes->{$_} // '' } sort keys %{ { %rows, %$hashes } };
		push @differ, "device $n, scope \"$scope\": $ours instead of $theirs; rows: @rows" if $ours ne $theirs || @rows;
	}
	return @differ;
}

# ---------------------------------------------------------------------------
my $begun = time;
$client{$_}{device}->pull($node) for 1 .. 3;
my %unanswered = (stored => 0, 'not stored' => 0);
for my $round (1 .. $kills)
{
	my @pushes = stream($round, int(rand 60), rand 0.03);
	start_again($node);
	my $session = SyncSession->new($node, 'postgres');
	for (@pushes)
	{
		my $acked = $session->ask("SELECT acked_seq FROM sync_hello('$_->{client}{device}{uuid}')");
		$unanswered{ $acked >= $_->{last} ? 'stored' : 'not stored' }++;
	}
	check_stored($session, "kill $round");
	heal($session, "kill $round") if $round == $kills || rand() < 0.5;
	$session->finish;
	diag sprintf '%d kills, %d s', $round, time - $begun if $round % 20 == 0;
}

$node->safe_psql('postgres', sprintf q{SELECT sync_register_device('%s', '{"",a,b}')}, uuid(5));
my $session = SyncSession->new($node, 'postgres');
my $fresh = SyncDevice->new(uuid(5));
1 while $fresh->take_page($session->ask($fresh->pull_sql(7)))->{more};
$scopes{5} = [ '', 'a', 'b' ];
is(join('', compare($session, 5, $fresh)), '', 'a new device gets the same');
$session->finish;
is($client{$_}{device}{resets}, 0, "device $_ did not start again") for 1 .. 3;
cmp_ok($client{4}{device}{resets}, '<', 2, 'the one that pushed before it pulled did once at most');

my $summary = sprintf '%d kills in %d s, %d statements answered, %d changes; unanswered pushes that were stored: %d, that were not: %d; devices were waiting for %s',
  $kills, time - $begun, $answers, eval { my $n = 0; $n += $client{$_}{acked} for @numbers; $n }, @unanswered{ 'stored', 'not stored' },
  join ', ', map { "$_: $in_flight{$_}" } sort keys %in_flight;
note $summary;
diag $summary if $kills > 20;
if ($kills > 20)
{
	cmp_ok($unanswered{$_}, '>', 0, "some unanswered pushes were $_") for sort keys %unanswered;
}

$node->stop;
done_testing();
