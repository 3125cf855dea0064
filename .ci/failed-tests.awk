# Reads what tap wrote and names what failed, each with its file, the tests around it, and the first lines of its reason.
# A test that failed because something inside it did is not named again.

function depth() { match($0, /^ */); return RLENGTH / 4 }

# An assertion, a whole test that timed out, or a file whose process died.
/^ *not ok [0-9]+/ && !/ # (TODO|SKIP)/ {
  level = depth()
  inner = failed[level + 1]
  failed[level + 1] = 0
  failed[level] = 1
  showing = 0
  if (inner) next
  count += 1
  if (count > 50) next
  path = ""
  # The line repeats its own test's name when it is a whole test.
  for (i = 0; i < level; i++) path = path name[i] " > "
  text = $0
  sub(/^ *not ok [0-9]+( - )?/, "", text)
  print "FAILED " path text
  showing = 16
  next
}

/^ *# Subtest: / {
  level = depth()
  name[level] = $0
  sub(/^ *# Subtest: /, "", name[level])
  # Inside a test the line stands where its assertions do, at the level of the test itself.
  failed[level + 1] = 0
  showing = 0
  next
}

/^ *ok [0-9]+/ { failed[depth() + 1] = 0; showing = 0; next }

/^ *\.\.\.$/ { showing = 0 }
showing > 0 && !/^ *---$/ { print "    " $0; showing -= 1 }

END {
  if (count > 50) print "and " count - 50 " more"
  if (count > 0) print count " failed, named above"
}
