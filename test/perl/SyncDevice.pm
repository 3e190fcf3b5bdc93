# A device in Perl, for tests that need one outside of the database: it keeps its
# rows, its vector and what waits to be pushed, and talks to a node through psql.
package SyncDevice;

use strict;
use warnings;
use Digest::SHA 'sha256';
use JSON::PP;

my $json = JSON::PP->new->canonical->allow_nonref;

# new(uuid, dbname)
sub new
{
	my ($class, $uuid, $dbname) = @_;
	return bless {
		uuid => $uuid,
		dbname => $dbname || 'postgres',
		vector => {},
		resume => undef,
		hlc => undef,
		seq => 0,
		outbox => [],    # not answered yet
		sent => [],      # everything ever written, by seq - 1
		rows => {},      # table -> key -> cells
		received => 0,   # changes that pulls brought
		resets => 0,
	}, $class;
}

sub _quote
{
	my $text = shift;
	return 'NULL' unless defined $text;
	$text =~ s/'/''/g;
	return "'$text'";
}

# write(table, key, change): a local change; returns its seq.  The clock is the
# real one.
sub write
{
	my ($self, $table, $key, $change) = @_;
	my $now = time;
	my @t = gmtime $now;
	my $hlc = sprintf '%04d-%02d-%02dT%02d:%02d:%02d.000Z/%d', $t[5] + 1900, $t[4] + 1, @t[ 3, 2, 1, 0 ],
	  ($now == ($self->{last_time} || 0) ? ++$self->{counter} : ($self->{counter} = 0));
	$self->{last_time} = $now;
	my %c = (seq => ++$self->{seq}, hlc => $hlc, table => $table, key => $key, %$change);
	push @{ $self->{outbox} }, \%c;
	push @{ $self->{sent} }, \%c;
	return $self->{seq};
}

# The delta of some changes, all that wait without any.
sub delta
{
	my ($self, @changes) = @_;
	@changes = @{ $self->{outbox} } unless @changes;
	return $json->encode(
		{
			format => 1,
			replica => $self->{uuid},
			context => $self->{vector},
			(defined $self->{hlc} ? (hlc => $self->{hlc}) : ()),
			changes => \@changes
		});
}

# The statement that pushes a delta, its answer as one line of JSON.
sub push_sql
{
	my ($self, $delta) = @_;
	return "SELECT to_jsonb(a) || jsonb_build_object('corrections', a.corrections::text::jsonb) FROM sync_apply_delta("
	  . _quote($delta)
	  . "::delta) a;\n";
}

sub _fold
{
	my ($self, $c) = @_;
	my $rows = $self->{rows}{ $c->{table} || '' } ||= {};
	my $key = $json->encode($c->{key});
	if ($c->{delete} || $c->{retract})
	{
		delete $rows->{$key};
		return;
	}
	$rows->{$key} = {} if $c->{insert} && !$rows->{$key};
	my $row = $rows->{$key} or return;
	my %new = (%{ $c->{insert} || {} }, %{ $c->{set} || {} });
	$row->{$_} = $new{$_} for keys %new;
	$row->{$_} += $c->{increment}{$_} for keys %{ $c->{increment} || {} };
	return;
}

# Take in what the server answered to a delta that ended with a seq (without it: with
# the last one that waits); returns the answer.  What the server has beyond that is
# not what it speaks of.
sub take_answer
{
	my ($self, $text, $last) = @_;
	my $answer = $json->decode($text);
	$last = $answer->{acked_seq} if !defined $last || $last > $answer->{acked_seq};
	if ($answer->{status} =~ /^(applied|partial|duplicate)$/)
	{
		my %is_refused = map { $_->{seq} => 1 } grep { $_->{outcome} eq 'rejected' } @{ $answer->{outcomes} || [] };
		while (@{ $self->{outbox} } && $self->{outbox}[0]{seq} <= $last)
		{
			my $c = shift @{ $self->{outbox} };
			$self->_fold($c) unless $is_refused{ $c->{seq} };
			$self->{vector}{ $self->{uuid} } = $c->{seq} unless defined $self->{resume};
		}
		$self->_take($_) for @{ ($answer->{corrections} || {})->{changes} || [] };
		$self->{hlc} = $answer->{hlc};
	}
	elsif ($answer->{status} eq 'gap')
	{
		$self->resend_from($answer->{acked_seq} + 1);
	}
	return $answer;
}

# The server has lost what it had acknowledged: put it back into the outbox.
sub resend_from
{
	my ($self, $seq) = @_;
	$self->{outbox} = [ @{ $self->{sent} }[ $seq - 1 .. $#{ $self->{sent} } ] ];
	$self->{vector}{ $self->{uuid} } = $seq - 1
	  if ($self->{vector}{ $self->{uuid} } || 0) >= $seq;
	return;
}

sub _take
{
	my ($self, $c) = @_;
	die "a scope was retracted" if $c->{scope};
	$self->{rows}{ $c->{table} }{ $json->encode($c->{key}) } = {} if $c->{insert};
	die "told to change a row that is not there: " . $json->encode($c)
	  if $c->{set} && !$self->{rows}{ $c->{table} }{ $json->encode($c->{key}) };
	$self->_fold($c);
	return;
}

# Push all that waits in one delta; returns the answer, undef where nothing waits.
sub push
{
	my ($self, $node) = @_;
	return unless @{ $self->{outbox} };
	return $self->take_answer($node->safe_psql($self->{dbname}, $self->push_sql($self->delta)));
}

# The statement that pulls a page.
sub pull_sql
{
	my ($self, $max) = @_;
	return sprintf "SELECT sync_changes_since(%s, %s, %d, %s);\n", _quote($self->{uuid}),
	  _quote($json->encode($self->{vector})), $max || 1000, _quote($self->{resume});
}

# Take in a page; returns it.
sub take_page
{
	my ($self, $text) = @_;
	my $page = $json->decode($text);
	if ($page->{reset})
	{
		$self->{rows} = {};
		$self->{resets}++;
	}
	$self->_take($_) for @{ $page->{changes} };
	$self->{received} += @{ $page->{changes} };
	my $own = $page->{reset} ? 0 : $self->{vector}{ $self->{uuid} } || 0;
	$self->{vector} = $page->{to};
	$self->{vector}{ $self->{uuid} } = $own if $own > ($self->{vector}{ $self->{uuid} } || 0);
	$self->{hlc} = $page->{hlc} if defined $page->{hlc};
	$self->{resume} = $page->{resume};
	shift @{ $self->{outbox} }
	  while @{ $self->{outbox} } && $self->{outbox}[0]{seq} <= ($page->{to}{ $self->{uuid} } || 0);
	return $page;
}

# Pull everything; returns the number of changes.
sub pull
{
	my ($self, $node, $max) = @_;
	my $before = $self->{received};
	1 while $self->take_page($node->safe_psql($self->{dbname}, $self->pull_sql($max)))->{more};
	return $self->{received} - $before;
}

# A table's rows as sorted text: one "key cells" line each, of the named columns.
sub rows
{
	my ($self, $table, @columns) = @_;
	my $rows = $self->{rows}{$table} || {};
	return join "\n", sort map {
		my $row = $rows->{$_};
		my $key = $json->decode($_);
		join '|', (map { $key->{$_} } sort keys %$key), map { $row->{$_} // '' } @columns;
	} keys %$rows;
}

# The hash of each row, by "table key", as doc/client.md says: 16 bytes.  Of some rows
# where a function of (table, row) chooses.
sub row_hashes
{
	my ($self, $is_wanted) = @_;
	my %hashes;
	for my $table (keys %{ $self->{rows} })
	{
		my $rows = $self->{rows}{$table};
		for my $key (grep { !$is_wanted || $is_wanted->($table, $rows->{$_}) } keys %$rows)
		{
			my %cells = map { $_ => $rows->{$key}{$_} } grep { defined $rows->{$key}{$_} } keys %{ $rows->{$key} };
			my $bytes = sprintf '{"table":%s,"key":%s,"insert":%s}', $json->encode($table), $key, $json->encode(\%cells);
			utf8::downgrade($bytes);    # strings are bytes here, as psql printed them
			$hashes{"$table $key"} = substr sha256($bytes), 0, 16;
		}
	}
	return \%hashes;
}

# The digest of its rows and their number: what sync_digest() says of a scope, if
# these are all rows that are in it.
sub digest
{
	my ($self, $is_wanted) = @_;
	my $hashes = $self->row_hashes($is_wanted);
	my @sums = (0) x 4;
	for my $hash (values %$hashes)
	{
		my @words = unpack 'N4', $hash;
		$sums[$_] = ($sums[$_] + $words[$_]) % 2**32 for 0 .. 3;
	}
	return join('', map { sprintf '%08x', $_ } @sums) . '|' . scalar keys %$hashes;
}

sub count
{
	my ($self, $table) = @_;
	return scalar keys %{ $self->{rows}{$table} || {} };
}

1;
