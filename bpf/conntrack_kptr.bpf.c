/* An entry kept in a map under the tag of a referenced pointer; until v6.4 that of an untrusted one. */
#define KPTR_TAG "kptr"
#define REFERENCED
#define UNTRUSTED
#include "conntrack_kptr.h"
