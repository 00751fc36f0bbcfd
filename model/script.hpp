// A sequence as a shell script of commands in the language of qemu-img and qemu-io, which cowvet speaks as well.
// Promises: run in an empty folder with either program, it does to a chain of files what the sequence does to
// the model, and fails when asked to judge and the disk does not read as the model says.
#pragma once
#include <string>

#include "model/model.hpp"

namespace cowvet::model {

// The programs are $img and $io, which the script sets to cowvet's where they are not set. `$io` gets all commands that
// go to one opened image in one call.
enum class Ending : bool { open, judged };  // whether the script itself looks at the outcome
[[nodiscard]] std::string script(const Sequence& sequence, Scope scope = Scope::all,
                                 Ending ending = Ending::judged);

// How programs of that language are told to open an image: "-f qcow2 NAME", or with the keys of encrypted ones.
// `alone`: a program that does not look below it.
[[nodiscard]] std::string opening_words(const Model& model, std::size_t image, bool alone = false);

}  // namespace cowvet::model
