#!/usr/bin/perl
# test/readme.pl [--update] [FILE.md]...: run the examples of the README and of doc/.
#
# All ```sql blocks are run in their order, in one new database.  A statement ends
# with a line that ends in a semicolon.  What a block shows after it must be what
# comes out: a table, an error, or lines "--> x", each a row, its columns apart by "|".
# Blank lines and blanks at the end of lines do not count.  Where it shows nothing, any
# result will do, but no error.  With --update the files are rewritten to show what
# comes out; "(show)" after a statement asks for its result as a table.
#
# psql finds the server as usual (PGHOST, PGPORT, PGUSER).  Roles that the examples
# made are dropped.  Says what differs; the last line says whether anything does.
use strict;
use warnings;

use File::Temp 'tempfile';

# pg_regress has its own ideas of how values look
delete @ENV{qw(PGTZ PGDATESTYLE PGOPTIONS)};

my $database = 'offline_sync_readme';
my $update = @ARGV && $ARGV[0] eq '--update' ? shift : '';
(my $top = $0) =~ s,[^/]*$,..,;
my @files = @ARGV ? @ARGV : ("$top/README.md", sort glob "$top/doc/*.md");

sub slurp
{
	my ($name) = @_;
	open my $f, '<', $name or die "$name: $!\n";
	local $/;
	return scalar <$f>;
}

# Run SQL in a database; returns all that psql says.
sub psql
{
	my ($db, $sql) = @_;
	my ($f, $name) = tempfile(UNLINK => 1);
	print $f $sql;
	close $f or die "$name: $!\n";
	return scalar `psql -X -q -d $db <$name 2>&1`;
}

sub tidy { return join '', map { s/\s+$//r . "\n" } grep { /\S/ } split /\n/, $_[0]; }

# Split a file into [text, as it stands], [statement, its lines, what it shows, line
# number]
sub parse
{
	my ($name) = @_;
	my @lines = split /^/, slurp($name);
	my (@parts, $is_sql);
	for (my $i = 0; $i < @lines; $i++)
	{
		if (!$is_sql || $lines[$i] =~ /^```/)
		{
			$is_sql = $lines[$i] =~ /^```sql$/;
			push @parts, ['text', $lines[$i]];
			next;
		}
		if ($lines[$i] =~ /^\s*(--.*)?$/)
		{
			push @parts, ['text', $lines[$i]];
			next;
		}
		my ($statement, $shown, $line) = ('', '', $i + 1);
		for (; $lines[$i] !~ /^```/; $i++)
		{
			$statement .= $lines[$i];
			last
			  if $lines[$i] =~ /;\s*(--.*)?$/
			  && (() = $statement =~ /\$\$/g) % 2 == 0;
		}
		die "$name:$line: this statement does not end\n" if $lines[$i] =~ /^```/;
		if ($lines[$i + 1] =~ /^-->/)
		{
			$shown .= $lines[++$i] while $lines[$i + 1] =~ /^-->/;
		}
		elsif ($lines[$i + 1] =~ /^\(show\)$/)
		{
			$shown = $lines[++$i];
		}
		elsif ($lines[$i + 1] =~ /^ERROR:/)
		{
			$shown .= $lines[++$i] while $lines[$i + 1] =~ /^[A-Z]+: |^PL\/pgSQL/;
		}
		elsif ($lines[$i + 2] =~ /^-[-+]*$/)
		{
			do { $shown .= $lines[++$i] } until $lines[$i] =~ /^\(\d+ rows?\)$|^```/;
			die "$name:$line: the result does not end\n" if $lines[$i] =~ /^```/;
		}
		push @parts, ['statement', $statement, $shown, $line];
	}
	return @parts;
}

my %parts = map { $_ => [parse($_)] } @files;
my @statements = grep { $_->[0] eq 'statement' } map { @{ $parts{$_} } } @files;
die "there are no examples\n" unless @statements;

my $roles = "SELECT string_agg(quote_ident(rolname), ', ') FROM pg_roles\n";
(my $before = psql('template1', "\\t\n\\a\n$roles;")) =~ s/\n$//;
psql('template1', "DROP DATABASE IF EXISTS $database;\nCREATE DATABASE $database TEMPLATE template0;\n");
my $script = "SET client_min_messages = warning;\n";
for (@statements)
{
	my ($format, $is_bare) = $_->[2] =~ /^-->/ ? ('unaligned', 'on') : ('aligned', 'off');
	$script .= "\\pset format $format\n\\pset tuples_only $is_bare\n$_->[1]\\echo <<<\n";
}
my @said = split /^<<<\n/m, psql($database, $script);
psql('template1', "DROP DATABASE $database;");
(my $made = psql('template1', "\\t\n\\a\n$roles WHERE rolname <> ALL (string_to_array('$before', ', '));")) =~ s/\n$//;
psql('template1', "DROP ROLE $made;") if $made ne '';

my $bad = 0;
for my $file (@files)
{
	my $text = '';
	for my $part (@{ $parts{$file} })
	{
		my ($kind, $sql, $shown, $line) = @$part;
		$text .= $sql;
		next if $kind eq 'text';
		my $came = tidy(shift(@said) // "psql ended before this statement\n");
		$came = $came eq '' ? "-->\n" : $came =~ s/^/--> /mgr if $shown =~ /^-->/;
		$text .= $came if $shown ne '';
		next if $shown eq '' ? $came !~ /^(ERROR|FATAL|psql)/m : tidy($shown) eq $came;
		(my $name = $file) =~ s,.*/,,;
		$bad++;
		next if $update && $shown ne '';
		print "$name, line $line:\n$sql-- shown:\n$shown-- came:\n$came\n";
	}
	if ($update)
	{
		$text =~ s/^(\(\d+ rows?\))\n(?=[^\n`])/$1\n\n/mg;
		open my $f, '>', $file or die "$file: $!\n";
		print $f $text;
		close $f or die "$file: $!\n";
	}
}
print $bad == 0 ? "every example gives what it shows\n" : "$bad examples give something else\n";
exit($bad != 0 && !$update);
