// SPDX-License-Identifier: MIT
//
// The header as C++ sees it.
#include "api.c"
