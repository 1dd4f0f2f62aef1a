module silo

go 1.24
