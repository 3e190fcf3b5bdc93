# A session of psql that is not waited for: send a statement, look for the answer
# later.  Many of them, in one program, keep a server as busy as many clients.
package SyncSession;

use strict;
use warnings;
use IO::Select;
use IPC::Open3;

# new(node, dbname, settings): settings is SQL that begins the session.
sub new
{
	my ($class, $node, $dbname, $settings) = @_;
	my $self = bless { node => $node, buffer => '', done => undef }, $class;
	local $SIG{PIPE} = 'IGNORE';
	$self->{pid} = open3(
		$self->{in}, $self->{out}, undef,
		$node->installed_command('psql'), '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $node->connstr($dbname), '-f', '-');
	$self->{in}->autoflush(1);
	$self->ask($settings) if $settings;
	return $self;
}

# Send a statement; done(answer, sqlstate) is called when the answer is there, with
# what psql printed; sqlstate is undef where all went well.
sub send
{
	my ($self, $sql, $done) = @_;
	die 'the session waits for an answer' if $self->{done};
	local $SIG{PIPE} = 'IGNORE';
	$sql =~ s/[;\s]*\z/;\n/;
	$self->{done} = $done;
	print { $self->{in} } "$sql\\echo END\n";
	return;
}

sub is_busy { return defined shift->{done} }

# Read what is there.  False when the session has ended.
sub receive
{
	my ($self) = @_;
	my $n = sysread $self->{out}, $self->{buffer}, 65536, length $self->{buffer};
	return 0 unless $n;
	if ($self->{buffer} =~ s/\A(.*?)^END\n//ms)
	{
		my $answer = $1;
		my $done = $self->{done};
		$self->{done} = undef;
		my ($sqlstate) = $answer =~ /(?:ERROR|FATAL|PANIC):  (\w{5}):/;
		chomp $answer;
		$done->($answer, $sqlstate) if $done;
	}
	return 1;
}

# Send a statement and wait; returns the answer, dies of an error.
sub ask
{
	my ($self, $sql) = @_;
	my $result;
	$self->send($sql, sub { $result = \@_ });
	while (!$result)
	{
		$self->receive or die "the session has ended: $self->{buffer}";
	}
	die "$sql: $result->[0]" if defined $result->[1];
	return $result->[0];
}

# Wait until one of several sessions has something to read, at most so long; returns
# those that have.
sub ready
{
	my ($seconds, @sessions) = @_;
	my %by_handle = map { $_->{out} => $_ } @sessions;
	return map { $by_handle{$_} } IO::Select->new(map { $_->{out} } @sessions)->can_read($seconds);
}

# Take in what the server has answered by now, and end.
sub finish
{
	my ($self) = @_;
	close $self->{in};
	1 while $self->receive;
	close $self->{out};
	waitpid $self->{pid}, 0;
	return;
}

1;
