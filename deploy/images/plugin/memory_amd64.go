package main

const memfdCreate = 319
