#!/usr/bin/env bash
# Compare the configured networks with the base branch and say so in one comment of the pull request, written or updated.
# Takes AGAINST, MODELS, REPOSITORY (owner/name), PULL_REQUEST and REPORTS from the environment; gh reads GH_TOKEN.
set -uf -o pipefail
marker="<!-- costlab -->" longest=65000 comment="$REPORTS/costlab-comment.md"
rm -f "$comment"
costlab compare --against "$AGAINST" --format markdown --output "$comment" -- $MODELS
code=$?
[ -f "$comment" ] || exit "$code"
if [ "$(wc -c < "$comment")" -gt $longest ]; then # GitHub takes 65,536 characters: whole lines, as many as fit
  head -c $longest "$comment" | sed '$d' > "$comment.short"
  printf '\n(cut: `costlab compare --against %s` shows the rest)\n' "$AGAINST" >> "$comment.short"
  mv "$comment.short" "$comment"
fi
comments="repos/$REPOSITORY/issues/$PULL_REQUEST/comments"
id=$(gh api --paginate "$comments" --jq ".[] | select(.body | startswith(\"$marker\")) | .id" | head -n 1) || id=""
if [ -n "$id" ]; then
  gh api --method PATCH "repos/$REPOSITORY/issues/comments/$id" --field "body=@$comment" --silent
else
  gh api --method POST "$comments" --field "body=@$comment" --silent
fi || echo "::warning title=costlab::the comment was not written: the job needs permission to write pull-requests"
exit "$code"
