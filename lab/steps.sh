# shellcheck shell=bash
# Telling step by step what is done, why, and whether it came out as claimed. To be sourced. The script says where commands
# run: `show WHERE command …` calls its function in_WHERE. If it has a function `mark`, each step begins with it.

if [[ -t 1 ]]; then
  bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
  bold='' dim='' green='' red='' plain=''
fi

step_titles=()
step_results=()
step_failed=0

step() { # title, why
  end_step
  step_titles+=("$1")
  step_failed=0
  printf '\n%s%d. %s%s\n' "$bold" "${#step_titles[@]}" "$1" "$plain"
  fold -s -w 110 <<<"$2" | sed 's/^/   /'
  if declare -F mark >/dev/null; then mark; fi
}

end_step() {
  ((${#step_titles[@]} > ${#step_results[@]})) || return 0
  if ((step_failed)); then step_results+=(failed); else step_results+=(passed); fi
}

indent() {
  if [[ -n $1 ]]; then printf '     | %s\n' "${1//$'\n'/$'\n     | '}"; fi
}

# Shows a command as one would type it in that namespace, then runs it. Its output goes to the screen, and to $output.
output=
show() { # where, command …
  local where=$1 status
  shift
  printf '   %s%s#%s %s\n' "$dim" "$where" "$plain" "$*"
  output=$("in_$where" "$@" 2>&1)
  status=$?
  indent "$output"
  return $status
}

check() { # what is claimed, command that proves it …
  local claim=$1
  shift
  if "$@"; then
    printf '   %s✓%s %s\n' "$green" "$plain" "$claim"
  else
    printf '   %s✗ %s%s\n' "$red" "$claim" "$plain"
    step_failed=1
  fi
}

compare() { awk -v a="$1" -v b="$3" "BEGIN { exit !(a $2 b) }"; }

has() { [[ $output == *"$1"* ]]; }

# Tries a command until it succeeds: within SECONDS, command …
within() {
  local end=$((SECONDS + $1 + 1))
  shift
  while ! "$@"; do
    if ((SECONDS >= end)); then return 1; fi
    sleep 0.05
  done
}

# The table of all steps, and the last line: steps_summary NAME. Succeeds when all have passed.
steps_summary() {
  local i colour passed=0
  end_step
  printf '\n%s  step                                                      result%s\n' "$bold" "$plain"
  for i in "${!step_titles[@]}"; do
    colour=$red
    if [[ ${step_results[i]} == passed ]]; then
      passed=$((passed + 1))
      colour=$green
    fi
    printf '  %2d  %-54s%s%s%s\n' "$((i + 1))" "${step_titles[i]}" "$colour" "${step_results[i]}" "$plain"
  done
  printf '\n%s: %d of %d steps passed\n' "$1" "$passed" "${#step_titles[@]}"
  ((passed == ${#step_titles[@]}))
}
