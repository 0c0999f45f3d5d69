// What is wrong with a configuration file, where, and what to write instead.
//
// Reading a file never throws for what the user wrote: it collects diagnostics, all of them, and
// hands them to whoever asked (the terminal, the log, `status --json`). The codes are a contract:
//
//   E001 syntax             E006 not a duration, size, percent    E011 the file cannot be read
//   E002 unknown key        E007 reference to nothing             E012 variable
//   E003 wrong type         E008 cycle                            E013 defined twice
//   E004 out of range       E009 keys exclude each other          E014 two values contradict
//   E005 not one of         E010 missing                          E015 not supported here
//   E016 cannot be done while things are as they are
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace greensup {

/// A place in the file; lines and columns count from 1, columns in characters, not bytes.
/// Line 0 means the file as a whole.
struct Place {
    unsigned line = 0;
    unsigned column = 0;

    friend bool operator==(const Place&, const Place&) = default;
    friend bool operator<(const Place& a, const Place& b) {
        return a.line != b.line ? a.line < b.line : a.column < b.column;
    }
};

/// One mistake. `key` is the full dotted name ("workers.web.count"), empty for syntax errors.
struct Diagnostic {
    std::string file;
    Place place;
    std::string code;
    std::string key;
    std::string message;
    std::string hint;
    std::string source_line;

    friend bool operator==(const Diagnostic&, const Diagnostic&) = default;
};

using Diagnostics = std::vector<Diagnostic>;

/// The human form: "FILE:LINE:COLUMN: error[Ennn]: KEY: TEXT", then the source line, a caret under
/// the place and "hint: …"; parts that are empty are left out. Ends with a newline.
std::string to_text(const Diagnostic& diagnostic);

/// All of them, one after the other, without a summary line.
std::string to_text(const Diagnostics& diagnostics);

/// A JSON array of {file,line,column,code,key,message,hint}, in the given order.
std::string to_json_text(const Diagnostics& diagnostics);

/// Where the keys of a file stand, for mistakes that show only when it is carried out.
class Places {
 public:
    Places() = default;
    explicit Places(std::string file) : file_{std::move(file)} {}

    void note(const std::string& key, Place place, std::string source_line) {
        by_key_[key] = {place, std::move(source_line)};
    }
    /// A mistake of that key. Where it is not written it stands at the section that leaves it out.
    [[nodiscard]] Diagnostic mistake(std::string code, const std::string& key, std::string message,
                                     std::string hint) const;

 private:
    struct Source {
        Place place;
        std::string line;
    };
    [[nodiscard]] Source source_of(const std::string& key) const;

    std::string file_;
    std::map<std::string, Source> by_key_;
};

/// Puts them into the order of the file, equal places in order of code, and drops exact doubles.
void sort_by_place(Diagnostics& diagnostics);

}  // namespace greensup
