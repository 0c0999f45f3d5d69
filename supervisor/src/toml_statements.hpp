// Where the statements of a TOML text begin: just enough to step over one that does not parse.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "diagnostic.hpp"

namespace greensup {

/// A range of lines, counted from 1, both ends included.
struct LineRange {
    unsigned first = 0;
    unsigned last = 0;
};

/// The line on which the bracket is that is still open where line `line` begins; 0 if none is.
/// `statement_first` is where the statement began that the bracket belongs to.
struct OpenBracket {
    unsigned line = 0;
    unsigned statement_first = 0;
};
OpenBracket open_bracket(const std::vector<std::string>& lines, unsigned line);

/// The lines to leave out so that the parser gets past an error at `line`: the statement around
/// it; for a table's header all lines up to the next header, which would otherwise end up in the
/// wrong table.
LineRange lines_to_skip(const std::vector<std::string>& lines, unsigned line);

/// The line before `line` that already defines what `line` defines again; 0 if there is none.
unsigned earlier_definition(const std::vector<std::string>& lines, unsigned line);

}  // namespace greensup
