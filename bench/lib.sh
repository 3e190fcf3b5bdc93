# What the measures share; sourced by them.
#
# A measure runs each of its variants once a round, in turn, by "timed", which
# notes what the client measured in the file "samples", a line a run:
#     variant round seconds-per-unit CPU-seconds-per-unit peak-memory-in-kB
# and then tells what to compare: "compare" and "show" add lines to the table that
# run.sh prints in the end.
# shellcheck shell=sh disable=SC2034
here=$(cd "$(dirname "$0")" && pwd)
device=d0000000-0000-4000-8000-000000000001
round=1

run() { PGOPTIONS='-c client_min_messages=warning' psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
say() { printf '  %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# timed VARIANT UNITS CLIENT-ARGUMENT...: UNITS is what one call stands for: changes, rows
timed()
{
	name=$1 units=$2
	shift 2
	measured=$("$CLIENT" "$@") || die "$name failed"
	echo "$measured" | awk -v v="$name" -v r="$round" -v u="$units" \
		'{ printf "%s %s %.9g %.9g %s\n", v, r, $2 / ($1 * u), $3 / ($1 * u), $4 }' >>samples
}

# fresh DATABASE TEMPLATE: a new database, copied
fresh()
{
	run -c "DROP DATABASE IF EXISTS $1" -c "CREATE DATABASE $1 TEMPLATE $2 STRATEGY file_copy"
}

# section TITLE
section() { printf '#%s\n' "$*" >>"$RESULTS"; }

# show WHAT AGAINST RATIO WANTED FIGURE UNIT: a line of the table as it is
show() { printf '%s\t%s\t\t%s\t%s\t%s\t\t%s\n' "$3" "$4" "$1" "$2" "$5" "$6" >>"$RESULTS"; }

# compare HOW VARIANT BASE WANTED UNIT WHAT AGAINST: a line of the table from the samples.
# HOW: speed (the ratio is how many times as fast as BASE) or cost (how many times as long).
# The ratio is the median of the rounds' ratios.  UNIT: a count of things, of which there are
# so many a second, or ms or us (or "us a row"), which one takes.
compare()
{
	awk -v how="$1" -v variant="$2" -v base="$3" -v wanted="$4" -v unit="$5" -v what="$6" -v against="$7" '
	function median(a, n,   i, j, t)
	{
		for (i = 2; i <= n; i++)
			for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
		return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
	}
	function figure(seconds)
	{
		if (unit == "ms") return sprintf("%.4g", seconds * 1000)
		if (unit ~ /^us/) return sprintf("%.4g", seconds * 1000000)
		if (seconds > 0.01) return sprintf("%.1f", 1 / seconds)
		return sprintf("%.0f", 1 / seconds)
	}
	$1 == variant { wall[$2] = $3; cpu[$2] = $4 }
	$1 == base { base_wall[$2] = $3; base_cpu[$2] = $4 }
	END {
		for (r in wall) {
			all[++n] = wall[r]
			if (!(r in base_wall)) continue
			ratio[++nr] = how == "speed" ? base_wall[r] / wall[r] : wall[r] / base_wall[r]
			if (cpu[r] > 0 && base_cpu[r] > 0)
				cpu_ratio[++nc] = how == "speed" ? base_cpu[r] / cpu[r] : cpu[r] / base_cpu[r]
		}
		if (n == 0 || (nr == 0 && variant != base)) exit	# not among the variants of this run
		m = median(all, n)
		spread = figure(all[1]) " - " figure(all[n])
		if (unit !~ /^[mu]s/) { spread = figure(all[n]) " - " figure(all[1]); unit = unit "/s" }
		is_self = (variant == base)
		r1 = r2 = ""
		if (nr && !is_self) r1 = sprintf("%.2f", median(ratio, nr))
		if (nc && !is_self) r2 = sprintf("%.2f", median(cpu_ratio, nc))
		printf("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r1, wanted, r2, what, against, figure(m), n > 1 ? spread : "", unit)
	}' samples >>"$RESULTS"
}
